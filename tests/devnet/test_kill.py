"""Daemons killed in the middle of a task: one seeded run on real processes, and the parts of its verdict."""

import random

import pytest

from devnet.cast import CREATOR, PHASES
from devnet.evidence import find_contradictions
from devnet.kill import ACTING, Attack, Blow, check_blows, choose_victims
from protocol.tendermint.messages import VoteKind, sign_proposal, sign_vote

SEED = 20250716
CHAIN = b"c" * 32
KEY = b"k" * 32


def test_a_task_settles_whoever_is_killed_in_whatever_phase(devnet, find_processes, tmp_path):
    """With two of seven killed in each phase the task settles, all catch up, do their duties, and never equivocate."""
    state = tmp_path / "state"
    done = devnet("scenario", "kill", "--seed", SEED, "--state", state)
    assert done.returncode == 0, f"seed {SEED}\n{done.stdout[-8000:]}\n{done.stderr}"
    assert "PASS" in done.stdout
    assert not find_processes(state), "a daemon survived its launcher"


@pytest.mark.parametrize("phase", PHASES)
def test_one_of_the_killed_is_needed_by_the_phase(phase):
    """Two daemons are killed, one of them of those that the phase waits for; in the open phase the creator."""
    for seed in range(50):
        victims = choose_victims(random.Random(seed), phase)
        assert len(set(victims)) == 2, f"seed {seed}"
        assert victims[0] in ACTING[phase], f"seed {seed}"
        assert phase != "open" or CREATOR in victims, f"seed {seed}"


def test_a_phase_that_was_missed_fails():
    """The verdict names a phase in which nobody was killed in time."""
    attack = Attack(None, None, random.Random(0), ["claim"])
    attack.blows.append(Blow("claim", 0, ("bob", "erin"), False, 1.0))
    check = check_blows(attack)
    assert not check.passed
    assert "claim" in check.found


def vote(block, *, round=0, kind=VoteKind.PREVOTE):
    """Return a vote of one replica at height 5."""
    return sign_vote(CHAIN, KEY, kind=kind, height=5, round=round, block_id=block)


def test_two_votes_for_one_place_are_found():
    """Different votes for one height, round and kind contradict each other, a vote for nil included."""
    first, second = vote(b"1" * 32), vote(None)
    assert find_contradictions([first, second, second]) == [(first.replica, 5, 0, 1)]


def test_a_repeated_vote_or_another_place_is_no_contradiction():
    """The same vote seen by many, votes of other rounds or kinds, and a proposal beside a vote are in order."""
    proposal = sign_proposal(CHAIN, KEY, height=5, round=0, valid_round=None, block_id=b"1" * 32)
    votes = [vote(b"1" * 32), vote(b"1" * 32), vote(None, round=1), vote(b"2" * 32, kind=VoteKind.PRECOMMIT)]
    assert find_contradictions([*votes, proposal, proposal]) == []
