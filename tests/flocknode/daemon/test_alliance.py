"""An alliance on four real daemons: one is killed in a round and goes on, and no row of data leaves its home."""

import struct

import pytest
import trio

from devnet.alliances import ask, count_outcomes, create_alliance, follow, join_all, list_rounds
from flocknode.rpc.alliance_records import Alliance
from flocknode.rpc.chain_records import Supply
from flocknode.rpc.records import ChainHead, NodeStatus
from tests.daemon_alliance import COLUMNS, ROWS, TEST_SHARE_MILLIONTHS, make_plan, restart_selected, write_data
from tests.daemon_task import start

NAMES = ("alice", "bob", "carol", "dave")
REPLICA, ROUNDS, SETTLE_S = NAMES[0], 2, 120
# Every daemon runs this first: what it sends is written down in clear before it is encrypted.
SPY = """
import os, sys
if "node" in sys.orig_argv:
    from flocknode.network.channel import Channel
    write, sink = Channel.write, open(os.environ["SPY_FILE"], "ab", buffering=0)
    async def spied(self, *parts):
        sink.write(b"".join(map(bytes, parts)))
        await write(self, *parts)
    Channel.write = spied
"""


@pytest.fixture
def flock(tmp_path, make_flock):
    """Four daemons of one chain whose first decides its blocks; all of them write down what they send."""
    spy = tmp_path / "spy"
    spy.mkdir()
    (spy / "sitecustomize.py").write_text(SPY)
    daemons = make_flock(NAMES, level="debug")
    for name, daemon in daemons.items():
        daemon.environment = {"SPY_FILE": str(spy / name)}
        daemon.path = str(spy)
    return daemons


async def disturb(flock, alliance):
    """Kill a voter of the first round while updates are fetched, start it again, and return who it was.

    Goes on to the end of the alliance.
    """
    killed = None
    async for heard in follow(flock[REPLICA], alliance):
        if heard.event.phase == "hold" and killed is None:
            killed = await restart_selected(flock, alliance, "voter")
    return killed


def rows_of(path):
    """Return the features of each row of a dataset file, as they lie there."""
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    width = struct.calcsize(f"<{COLUMNS}f")
    return [data[begin + width * row : begin + width * (row + 1)] for row in range(ROWS)]


def find_rows(rows, data):
    """Return how many rows appear in some bytes, half of one already."""
    return sum(row[: len(row) // 2] in data for row in rows)


def check_privacy(flock, data):
    """What each daemon sent, and every file of the others, holds no row of its data; its own split holds all."""
    for name, daemon in flock.items():
        rows = rows_of(data[name])
        own = b"".join((daemon.home.alliances / "1" / f"{part}.safetensors").read_bytes() for part in ("train", "test"))
        assert find_rows(rows, own) == ROWS, "the search finds what is there"
        sent = (daemon.home.path.parent / "spy" / name).read_bytes()
        assert find_rows(rows, sent) == 0, f"{name} sent rows of its data"
        for other in flock.values():
            if other is not daemon:
                files = b"\n".join(path.read_bytes() for path in other.home.path.rglob("*") if path.is_file())
                assert find_rows(rows, files) == 0, f"rows of {name} lie in another home"


async def test_a_killed_voter_goes_on_and_no_data_leaves_its_home(flock, tmp_path):
    """Two rounds are accepted, nobody is slashed, all agree, the supply adds up, and traffic in clear holds no row."""
    data = write_data(tmp_path, NAMES)
    await start(flock)
    with trio.fail_after(SETTLE_S):
        created = await create_alliance(flock[REPLICA], make_plan(len(NAMES), name="hospitals", rounds=ROUNDS))
        cause = (await ask(flock[REPLICA], "node.status", NodeStatus)).cause
        await join_all(flock, created, data, test_share_millionths=TEST_SHARE_MILLIONTHS)
        killed = await disturb(flock, created.alliance)
        rounds = await list_rounds(flock[REPLICA], created.alliance)
        shown = await ask(flock[REPLICA], "alliance.show", Alliance, alliance="hospitals")
        height = (await ask(flock[REPLICA], "chain.head", ChainHead)).height
        async for _ in follow(flock[killed], created.alliance):
            pass
    assert "; alliance 1: waits for 4 of 4 participants, at most " in cause
    assert killed is not None
    assert count_outcomes(rounds, "accepted") == ROUNDS
    assert all(not share.is_absent for one in rounds.rounds for share in one.shares)
    assert sum(person.slashed_units for person in shown.participants) == sum(
        share.slashed_units for one in rounds.rounds for share in one.shares
    )
    supply = await ask(flock[killed], "chain.supply", Supply)
    assert supply.total_units == sum(supply.places.values())
    assert (await ask(flock[killed], "alliance.show", Alliance, alliance="1")).latest.root == shown.latest.root
    assert height > 0
    # The update is the one large thing that travels, so what was sent holds it: the spy hears all.
    update = flock[killed].home.blobs / f"{shown.latest.root}-{shown.latest.length_bytes}"
    sent = b"".join((tmp_path / "spy" / name).read_bytes() for name in NAMES)
    assert update.is_file()
    assert b'"dtype":"I32"' in sent
    check_privacy(flock, data)
