"""A masked round on seven real daemons: one client loses its update, and no home but its owner's ever has one."""

import pytest
import trio

from devnet.alliances import create_alliance, follow, join_all, list_rounds
from devnet.masks import find_in_homes, lose, read_secrets, strike
from flocknode.keystore import load_public_keys
from tests.daemon_alliance import TEST_SHARE_MILLIONTHS, make_plan, wait_until_forgotten, write_data
from tests.daemon_task import start

# Three propose, so that two are left without one; three judge, one aggregates.
NAMES = ("alice", "bob", "carol", "dave", "erin", "frank", "grace")
SHARES = {"proposer_share_millionths": 430_000, "voter_share_millionths": 430_000}
# In which everybody but the client without an update has shared its vector long ago.
HOLD_MS = 10_000
SETTLE_S = 150


@pytest.fixture
def flock(make_flock):
    """Seven daemons of one chain whose first decides its blocks."""
    return make_flock(NAMES)


async def drop_one(flock, alliance):
    """Let a proposer lose its update before it can share it; return its account, and each home with its secrets.

    Those are searched for in all other homes once the sum is published.
    """
    replica, dropped, secrets = flock[NAMES[0]], None, {}
    async with trio.open_nursery() as nursery:
        async for heard in follow(replica, alliance):
            if heard.event.phase == "train" and dropped is None:
                (running,) = (await list_rounds(replica, alliance)).rounds
                dropped = next(one.account for one in running.shares if one.role == "proposer")
                home = next(one.home for one in flock.values() if load_public_keys(one.home).account.hex() == dropped)
                nursery.start_soon(strike, home, alliance, 0, lose)
            if heard.event.phase == "aggregate":
                secrets = {daemon.home: read_secrets(daemon.home, alliance, 0) for daemon in flock.values()}
            if heard.event.phase == "vote":
                assert_secret(flock, secrets)
    return dropped, secrets


def assert_secret(flock, secrets):
    """Assert that no update stands in a home but its owner's; the aggregator's is one of the others."""
    for owner, found in secrets.items():
        others = [daemon.home for daemon in flock.values() if daemon.home is not owner]
        assert all(find_in_homes(others, secret) == [] for secret in found)


async def test_a_round_that_lacks_a_vector_is_run_again_and_bares_nobody(flock, tmp_path):
    """Accepted in the second attempt with the other two; the first one's openings and weights were nowhere else."""
    data = write_data(tmp_path, NAMES)
    await start(flock)
    plan = make_plan(len(NAMES), privacy="masked", attribution="aggregate", hold_phase_ms=HOLD_MS, **SHARES)
    with trio.fail_after(SETTLE_S):
        created = await create_alliance(flock[NAMES[0]], plan)
        await join_all(flock, created, data, test_share_millionths=TEST_SHARE_MILLIONTHS)
        dropped, secrets = await drop_one(flock, created.alliance)
        (settled,) = (await list_rounds(flock[NAMES[0]], created.alliance)).rounds
        await wait_until_forgotten(flock)
    assert settled.state == "accepted"
    assert [one.account for one in settled.shares if one.is_absent] == [dropped]
    assert [one.account for one in settled.shares if one.slashed_units] == [dropped]
    proposers = {one.account for one in settled.shares if one.role == "proposer"}
    assert set(settled.proven.summed) == proposers - {dropped}
    assert settled.proven.proof is None
    # Of both attempts an opening, and what was trained once; the one that lost its opening still has its weights.
    assert sorted(len(found) for found in secrets.values()) == [0, 0, 0, 0, 1, 3, 3]
    assert_secret(flock, secrets)
