"""A core that is brought back from its state and what it keeps goes on exactly like the one it was taken from."""

import random

import pytest

from protocol.codec import decode, encode
from protocol.tendermint import events
from protocol.tendermint.events import ScheduleTimeout, TimeoutKind
from protocol.tendermint.machine import State
from protocol.tendermint.messages import VoteKind

ME = 3
NAMES = ("v", "w", "x", None)


def draw_input(cast, dice: random.Random, round: int) -> events.Input:
    """Return something that could come in around a round, equivocations and later rounds among it."""
    near = max(0, round + dice.choice([-2, -1, 0, 0, 0, 0, 0, 1, 3]))
    match dice.randrange(8):
        case 0:
            valid_round = dice.choice([None, None, max(0, near - 1)])
            return cast.proposal(near, dice.choice("vwx"), valid_round, timely=dice.random() < 0.8)
        case 1:
            return cast.valid(dice.choice("vwx"), dice.random() < 0.8)
        case 2:
            return events.TimeoutExpired(dice.choice(list(TimeoutKind)), 1, round)
        case _:
            return cast.vote(dice.choice(list(VoteKind)), dice.randrange(4), near, dice.choice(NAMES))


def restored(cast, core, who: int | None = ME):
    """Return a new core with what the other one is and keeps, over the disk."""
    kept = [decode(encode(event), type(event)) for event in core.get_kept()]
    copy = cast.core(who)
    return copy, copy.restore(decode(encode(core.state), State), kept)


@pytest.mark.parametrize("seed", range(60))
def test_a_restored_core_does_what_the_original_does(cast, seed: int) -> None:
    """Whatever came before and comes after: the same effects, votes, proposals and summaries."""
    print(f"seed {seed}")
    dice = random.Random(seed)
    core = cast.core(ME)
    core.step(events.HeightStarted(1))
    for _ in range(dice.randrange(60)):
        core.step(draw_input(cast, dice, core.state.round))
    copy, _ = restored(cast, core)
    for _ in range(60):
        assert copy.state == core.state
        assert copy.summary() == core.summary()
        event = draw_input(cast, dice, core.state.round)
        assert copy.step(event) == core.step(event)
    assert set(map(encode, copy.get_kept())) == set(map(encode, core.get_kept()))


def test_the_timeouts_that_run_come_back(cast) -> None:
    """Of every step those that were asked for and have not passed."""
    core = cast.core(ME)
    assert restored(cast, core)[1] == []
    core.step(events.HeightStarted(1))
    assert restored(cast, core)[1] == [ScheduleTimeout(TimeoutKind.PROPOSE, 1, 0)]
    cast.feed(core, events.TimeoutExpired(TimeoutKind.PROPOSE, 1, 0))
    assert restored(cast, core)[1] == []
    cast.feed(core, *(cast.prevote(who, 0, name) for who, name in enumerate(("v", "w", None))))
    assert restored(cast, core)[1] == [ScheduleTimeout(TimeoutKind.PREVOTE, 1, 0)]
    cast.feed(core, *(cast.precommit(who, 0, name) for who, name in enumerate(("v", "w", None))))
    timeouts = restored(cast, core)[1]
    assert timeouts == [ScheduleTimeout(TimeoutKind.PREVOTE, 1, 0), ScheduleTimeout(TimeoutKind.PRECOMMIT, 1, 0)]
    cast.feed(core, events.TimeoutExpired(TimeoutKind.PREVOTE, 1, 0))
    assert restored(cast, core)[1] == [ScheduleTimeout(TimeoutKind.PRECOMMIT, 1, 0)]


def test_what_is_kept_is_bounded_by_replicas_and_rounds(cast) -> None:
    """A replica that signs ever higher rounds, and proposes in its turns there, leaves one round's messages."""
    core = cast.core(ME)
    for round in range(1, 400):
        cast.feed(core, cast.prevote(0, round, "v"), cast.precommit(0, round, None))
        cast.feed(core, cast.proposal(4 * (round // 4), f"b{round // 4}"))
    assert core.state.round == 0
    assert len(core.get_kept()) <= 3 + 2
