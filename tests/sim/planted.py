"""Bugs that are planted into the real code one at a time, to see that the simulator finds them."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import pytest

from flocknode.replica.journal import Journal
from flocknode.replica.signer import Signer
from protocol.tendermint import machine
from protocol.tendermint.core import Core
from protocol.tendermint.machine import Step
from protocol.tendermint.messages import Vote
from protocol.tendermint.votes import RoundVotes
from tests.sim.simulate import simulate

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Find:
    """What became of the search for a bug: the seeds that were tried, and the failure of the last one."""

    name: str
    seeds: int
    failure: str


def forget_the_lock_at_l23(patch: pytest.MonkeyPatch) -> None:
    """Any valid fresh proposal gets the prevote, whatever this replica is locked on."""

    def apply(state: machine.State, event: machine.Input) -> machine.Outcome:
        if isinstance(event, machine.FreshProposal) and state.step == Step.PROPOSE and event.is_valid:
            return machine._prevote(state, event.block_id)
        return original(state, event)

    original = machine.apply
    patch.setattr(machine, "apply", apply)


def forget_the_lock_at_l29(patch: pytest.MonkeyPatch) -> None:
    """A repeated proposal unlocks, however old its polka is."""

    def apply(state: machine.State, event: machine.Input) -> machine.Outcome:
        is_due = isinstance(event, machine.ReproposalAndPolka) and state.step == Step.PROPOSE
        if is_due and event.valid_round < state.round and event.is_valid:
            return machine._prevote(state, event.block_id)
        return original(state, event)

    original = machine.apply
    patch.setattr(machine, "apply", apply)


def lock_nothing(patch: pytest.MonkeyPatch) -> None:
    """L38 and L39 are left out: a precommit binds to nothing."""

    def apply(state: machine.State, event: machine.Input) -> machine.Outcome:
        after, effects = original(state, event)
        return msgspec.structs.replace(after, locked_round=None, locked_block=None), effects

    original = machine.apply
    patch.setattr(machine, "apply", apply)


def count_an_equivocator_twice(patch: pytest.MonkeyPatch) -> None:
    """Every vote adds to its value's power, also one that was counted for it."""

    def add(votes: RoundVotes, vote: Vote) -> Vote | None:
        known = votes._by_replica.get(vote.replica, [])
        if known and known[0].block_id != vote.block_id:
            first = known[0].block_id
            votes._power[first] = votes._power.get(first, 0) + votes._powers[vote.replica]
        return original(votes, vote)

    original = RoundVotes.add
    patch.setattr(RoundVotes, "add", add)


def skip_the_fsync(patch: pytest.MonkeyPatch) -> None:
    """Messages leave before what they depend on is on the disk."""
    patch.setattr(Journal, "sync", lambda journal: None)


def forget_what_was_signed(patch: pytest.MonkeyPatch) -> None:
    """A restart knows neither the last signature nor the inputs of the height."""
    original = Journal.recover

    def recover(journal: Journal, height: int):
        recovered = original(journal, height)
        journal.last_signed = None
        return type(recovered)(blocks=recovered.blocks)

    patch.setattr(Journal, "recover", recover)
    patch.setattr(Signer, "learn_newest", lambda signer, vote: None)


def tell_peers_nothing(patch: pytest.MonkeyPatch) -> None:
    """There is no anti-entropy: what was lost on the way stays lost."""
    patch.setattr(Core, "get_missing", lambda core, summary: [])


PLANTS: dict[str, Plant] = {
    plant.__name__: plant
    for plant in (
        forget_the_lock_at_l23,
        forget_the_lock_at_l29,
        lock_nothing,
        count_an_equivocator_twice,
        skip_the_fsync,
        forget_what_was_signed,
        tell_peers_nothing,
    )
}


def search(case: tuple[str, int, int]) -> Find:
    """Plant a bug and run seeds with so many replicas until one fails, at most so many."""
    name, size, limit = case
    with pytest.MonkeyPatch.context() as patch:
        PLANTS[name](patch)
        for seed in range(limit):
            failure = simulate(seed, size).failure
            if failure:
                return Find(name, seed + 1, failure)
    return Find(name, limit, "")
