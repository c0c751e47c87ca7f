"""A private round on six real daemons: hidden, sealed, summed under a proof that holds without any node (VI.H)."""

import json

import pytest
import trio

from devnet.alliances import create_alliance, follow, join_all, list_rounds
from devnet.masks import find_in_homes
from protocol.params import DEVNET
from protocol.sealed_pieces import sealed_length
from protocol.zk.commitment import reveal_bytes
from tests.daemon_alliance import (
    COLUMNS,
    TEST_SHARE_MILLIONTHS,
    find_blobs,
    make_plan,
    restart_selected,
    wait_until_forgotten,
    write_data,
)
from tests.daemon_task import start

# Two hide among each other, three judge, one aggregates.
NAMES = ("alice", "bob", "carol", "dave", "erin", "frank")
REPLICA, *OTHERS = NAMES
SEALED_BYTES = sealed_length(reveal_bytes(DEVNET.alliance.zk, 2 * (COLUMNS + 1)))
SETTLE_S = 120


@pytest.fixture
def flock(make_flock):
    """Six daemons of one chain whose first decides its blocks."""
    return make_flock(NAMES)


async def disturb(flock, alliance):
    """Kill a proposer once it has committed, start it again, and go on to the end; returns the openings it saw.

    By the vote, sealed updates lie in the homes of voters and of the aggregator as well.
    """
    openings = {}
    seen = 0
    async for heard in follow(flock[REPLICA], alliance):
        seen += len(find_blobs(flock, SEALED_BYTES)) if heard.event.phase == "vote" else 0
        if heard.event.phase == "seal" and not openings:
            for daemon in flock.values():
                for path in daemon.home.alliances.glob("*/hidden-*-opening"):
                    openings[daemon.home] = path.read_bytes()
            await restart_selected(flock, alliance, "proposer")
    assert seen > 2
    return openings


async def test_a_round_is_hidden_and_its_proof_holds(flock, tmp_path):
    """Accepted although a proposer was killed; no opening and no sealed update is left, and the log gives the proof."""
    data = write_data(tmp_path, NAMES)
    await start(flock)
    plan = make_plan(len(NAMES), privacy="zk", attribution="aggregate")
    with trio.fail_after(SETTLE_S):
        created = await create_alliance(flock[REPLICA], plan)
        await join_all(flock, created, data, test_share_millionths=TEST_SHARE_MILLIONTHS)
        openings = await disturb(flock, created.alliance)
        (settled,) = (await list_rounds(flock[REPLICA], created.alliance)).rounds
        await wait_until_forgotten(flock, sealed=SEALED_BYTES)
    assert settled.state == "accepted"
    assert not any(share.is_absent or share.slashed_units for share in settled.shares)
    assert len(settled.proven.summed) == len(openings) == 2
    for opening in openings.values():
        assert find_in_homes([daemon.home for daemon in flock.values()], opening[: len(opening) // 2]) == []
    code, _, error = flock[OTHERS[0]].run("alliance proof clinics 1 --out", tmp_path / "round.proof")
    assert code == 0, error
    code, output, _ = flock[OTHERS[0]].run("alliance verify-proof --json", tmp_path / "round.proof")
    assert code == 0
    report = json.loads(output)
    assert (report["valid"], report["digest"]) == (True, settled.proven.digest)
    assert [one["key"] for one in report["summed"]] == list(settled.proven.summed)
