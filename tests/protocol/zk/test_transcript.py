"""The transcript: every byte counts, and none can move from one part to another."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from protocol.zk.transcript import Transcript


def challenge(*said: tuple[str, ...], label: str = "c", count: int = 1) -> list[int]:
    """Return challenges after saying parts under labels."""
    transcript = Transcript("test")
    for name, *parts in said:
        transcript.absorb(name, *(part.encode() for part in parts))
    return transcript.challenges(label, count)


def test_the_bytes_are_those_of_the_description() -> None:
    """Frames written out by hand give the same challenges."""
    said = b"\x01\0\0\0\x02" + b"\0\0\0\x06domain" + b"\0\0\0\x04test"
    said += b"\x01\0\0\0\x03" + b"\0\0\0\x01a" + b"\0\0\0\x01x" + b"\0\0\0\0"
    said += b"\x02\0\0\0\x02" + b"\0\0\0\x01c"
    drawn = hashlib.shake_256(said).digest(32)
    assert challenge(("a", "x", ""), count=2) == [int.from_bytes(part, "big") for part in (drawn[:16], drawn[16:])]


def test_nothing_said_differently_gives_the_same_challenge() -> None:
    """Parts moved, joined, split, relabelled, left out or repeated, and challenges drawn for another purpose."""
    variants = [
        challenge(("a", "xy")),
        challenge(("a", "x", "y")),
        challenge(("a", "x"), ("y",)),
        challenge(("a", "", "xy")),
        challenge(("a", "xy", "")),
        challenge(("ax", "y")),
        challenge(("a", "yx")),
        challenge(("a",), ("xy",)),
        challenge(("a", "xy"), ("a", "xy")),
        challenge(),
        challenge(("a", "xy"), label="d"),
        challenge(("a", "xy"), count=2)[:1],
    ]
    assert len({tuple(variant) for variant in variants}) == len(variants)


def test_challenges_depend_on_challenges_before() -> None:
    """The same question asked twice has two answers."""
    transcript = Transcript("test")
    assert transcript.challenges("c", 1) != transcript.challenges("c", 1)


def test_the_state_is_no_challenge() -> None:
    """What names the transcript for a nonce is not what a challenge is made of, and asking for it changes nothing."""
    one, other = Transcript("test"), Transcript("test")
    state = one.state()
    drawn = one.challenges("c", 2)
    assert drawn == other.challenges("c", 2)
    assert b"".join(value.to_bytes(16, "big") for value in drawn) != state


@given(st.lists(st.binary(max_size=8), max_size=4), st.lists(st.binary(max_size=8), max_size=4))
def test_different_parts_give_different_challenges(left: list[bytes], right: list[bytes]) -> None:
    """Two lists of parts have one challenge only if they are one list."""
    one, other = Transcript("test"), Transcript("test")
    one.absorb("parts", *left)
    other.absorb("parts", *right)
    assert (one.challenges("c", 1) == other.challenges("c", 1)) == (left == right)
