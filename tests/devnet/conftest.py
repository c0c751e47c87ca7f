"""Records as the daemons answer them, and the devnet as a command of its own process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flocknode.rpc.arena_records import Epoch, Leaderboard, Payout, Ranked, ValidatorPayout

ROOT = Path(__file__).resolve().parents[2]
# A hanging devnet ends with its own message before this.
COMMAND_S = 700


def address(letter):
    """Return an address made of one hex digit."""
    return letter * 64


@pytest.fixture(name="address")
def address_fixture():
    """Give the maker of addresses."""
    return address


@pytest.fixture
def board():
    """Give the leaderboard of a settled task: trainers b, c, d; validators e, f; two epochs of 100 units."""
    epochs = tuple(
        Epoch(
            epoch=number,
            dataset="ab"[number],
            baseline_millionths=100_000,
            is_settled=True,
            pot_units=100,
            emitted_units=10,
            creator_units=0,
            ranking=tuple(
                Ranked(
                    rank=place + 1,
                    tag=f"{number}{who}" * 32,
                    account=address(who),
                    stake_units=100,
                    score_millionths=900_000 - place * 10_000,
                    share_millionths=400_000,
                    duplicate_of=None,
                    reward_a_units=2,
                    reward_b_units=0 if number == 0 else 28,
                    payout_units=2 if number == 0 else 30,
                )
                for place, who in enumerate(ranks)
            ),
            validators=tuple(
                ValidatorPayout(
                    account=address(who), stake_units=100, payout_units=28 if who == "e" else 24, slashed_units=0
                )
                for who in "ef"
            ),
        )
        for number, ranks in enumerate(("bcd", "dbc"))
    )
    payouts = [
        Payout(account=address(who), a_units=4, b_units=28, validating_units=0, creating_units=0, passed_on_units=0)
        for who in "bcd"
    ]
    payouts += [
        Payout(account=address("e"), a_units=0, b_units=0, validating_units=56, creating_units=0, passed_on_units=0),
        Payout(account=address("f"), a_units=0, b_units=0, validating_units=48, creating_units=0, passed_on_units=0),
    ]
    return Leaderboard(task=1, name="digits", status="settled", epochs=epochs, payouts=tuple(payouts))


@pytest.fixture
def devnet():
    """Give a function that runs `python -m devnet` with arguments and returns the finished process."""

    def run(*arguments):
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        return subprocess.run(
            [sys.executable, "-P", "-m", "devnet", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        )

    return run


@pytest.fixture
def find_processes():
    """Give a function that returns the processes whose command line names a text."""

    def find(text):
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = entry.read_bytes()
            except OSError:
                continue  # it ended in the meantime
            if str(text).encode() in command and int(entry.parent.name) != os.getpid():
                found.append((int(entry.parent.name), command))
        return found

    return find
