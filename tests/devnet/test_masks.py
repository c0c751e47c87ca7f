"""What the scenario of masked rounds counts as right, from rounds as a daemon describes them, and what it searches."""

import pytest
from msgspec.structs import replace

from devnet.masks import MISHAPS, Witness, alter, check_round, check_secrecy, find_in_homes, lose, read_secrets
from flocknode.home import Home
from flocknode.rpc.alliance_records import Round, Share

NAMES = {"a1" * 32: "n0", "b2" * 32: "n1"}
DROPPED, LIED = MISHAPS
HONEST = 0


def share(account, *, slashed=0, is_absent=False):
    return Share(account, "proposer", 64, 0, True, is_absent, 0, slashed)


def settled(number, state, *shares, paid=5):
    """Return a round that ended so."""
    return Round(number, state, None, 9, 9, paid, 0, None, None, 3, 0, (), shares, 40)


def witness(number, *, attempts, victim=None):
    seen = Witness(None, 1, None, None, NAMES)
    seen.attempts[number] = attempts
    if victim is not None:
        seen.victims[number] = victim
    return seen


GOOD, GONE, CAUGHT = share("a1" * 32), share("b2" * 32, slashed=3, is_absent=True), share("b2" * 32, slashed=8)


@pytest.mark.parametrize(
    ("found", "attempts", "victim", "passed"),
    [
        (settled(HONEST, "accepted", GOOD), 1, None, True),
        (settled(HONEST, "accepted", GOOD, CAUGHT), 1, None, False),
        (settled(HONEST, "rejected", GOOD), 1, None, False),
        (settled(DROPPED, "accepted", GOOD, GONE), 2, "n1", True),
        (settled(DROPPED, "accepted", GOOD, GONE), 1, "n1", False),
        (settled(DROPPED, "accepted", GOOD), 2, "n1", False),
        (settled(LIED, "void", GOOD, CAUGHT, paid=0), 1, "n1", True),
        (settled(LIED, "void", GOOD, CAUGHT), 1, "n1", False),
        (settled(LIED, "void", GOOD, paid=0), 1, "n1", False),
        (settled(LIED, "void", replace(GOOD, slashed_units=1), CAUGHT, paid=0), 1, "n1", False),
    ],
)
def test_a_round_passes_when_it_ended_as_its_mishap_must(found, attempts, victim, passed):
    """Its outcome, how often it was begun, who was absent, who paid, and whether anybody was paid."""
    assert check_round(found, witness(found.round, attempts=attempts, victim=victim)).passed is passed


def test_an_update_in_another_home_is_found(tmp_path):
    """The search sees what it looks for where it is; with nothing searched for, or something found, it fails."""
    owner, other = Home(tmp_path / "owner"), Home(tmp_path / "other")
    folder = owner.alliances / "1"
    folder.mkdir(parents=True)
    opening, weights = bytes(range(100)), bytes(range(100, 200))
    (folder / "hidden-2-0-opening").write_bytes(opening)
    (folder / "hidden-2-update").write_bytes(weights)
    (folder / "hidden-1-update").write_bytes(b"of another round")
    secrets = read_secrets(owner, 1, 2)
    assert secrets == [opening[:50], weights[50:]]
    other.blobs.mkdir(parents=True)
    (other.blobs / "a blob").write_bytes(b"before" + weights + b"after")
    assert [find_in_homes([owner, other], secret) for secret in secrets] == [[owner], [owner, other]]
    seen = witness(0, attempts=1)
    assert not check_secrecy(seen).passed
    seen.searched = 2
    assert check_secrecy(seen).passed
    seen.bared.append("an update")
    assert not check_secrecy(seen).passed


def test_mishaps_happen_to_the_opening_alone(tmp_path):
    """Lost, or altered in one bit of its first value, so that it still is an opening."""
    path = tmp_path / "hidden-0-0-opening"
    path.write_bytes(bytes(40))
    alter(path)
    assert path.read_bytes() == bytes(3) + b"\x01" + bytes(36)
    lose(path)
    assert list(tmp_path.iterdir()) == []
