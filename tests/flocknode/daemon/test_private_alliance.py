"""A private round on six real daemons: hidden, sealed, summed under a proof that holds without any node (VI.H)."""

import json

import pytest
import trio

from devnet.alliances import POLL_S, Plan, create_alliance, follow, join_all, list_rounds
from flocknode.founding import create_home, make_genesis
from flocknode.home import Home
from flocknode.keystore import load_public_keys
from flocknode.rpc.alliance_records import Training
from tests.daemon_task import connect, start
from tests.dataset_files import write_dataset

# Two hide among each other, three judge, one aggregates.
NAMES = ("alice", "bob", "carol", "dave", "erin", "frank")
REPLICA, *OTHERS = NAMES
ROWS, COLUMNS = 120, 8
TEST_SHARE_MILLIONTHS = 250_000
SETTLE_S = 120


@pytest.fixture
def flock(tmp_path, make_daemon):
    """Six daemons of one chain whose first decides its blocks."""
    daemons = {name: make_daemon(Home(tmp_path / name)) for name in NAMES}
    for daemon in daemons.values():
        create_home(daemon.home, genesis=None, port=None, bootstrap=(), name=None, passphrase=None)
    document = make_genesis(
        [daemon.home for daemon in daemons.values()],
        preset="devnet",
        name="t",
        balance_units=10**13,
        bond_units=10**12,
    )
    connect(daemons, document, level="info")
    yield daemons
    for daemon in daemons.values():
        if daemon.process is not None:
            daemon.process.kill()
            daemon.process.wait()


async def disturb(flock, alliance):
    """Kill a proposer once it has committed, start it again, and go on to the end; returns the openings it saw."""
    openings = {}
    async for heard in follow(flock[REPLICA], alliance):
        if heard.event.phase == "seal" and not openings:
            for daemon in flock.values():
                for path in daemon.home.alliances.glob("*/hidden-*-opening"):
                    openings[daemon.home] = path.read_bytes()
            (running,) = (await list_rounds(flock[REPLICA], alliance)).rounds
            proposers = {share.account for share in running.shares if share.role == "proposer"}
            killed = next(name for name in OTHERS if load_public_keys(flock[name].home).account.hex() in proposers)
            flock[killed].process.kill()
            flock[killed].process.wait()
            await trio.to_thread.run_sync(flock[killed].start)
    return openings


async def wait_until_forgotten(flock):
    """Return once no daemon has a secret of a round left; each deletes them after it has the last block."""
    folders = [daemon.home.alliances for daemon in flock.values()]
    while any(path for folder in folders for path in folder.glob("*/hidden-*")):  # noqa: ASYNC110 - others decide
        await trio.sleep(POLL_S)


def find_in_homes(daemons, data):
    """Return the homes in which some file holds some bytes, half of them already."""
    half = data[: len(data) // 2]
    return {
        daemon.home
        for daemon in daemons
        if any(half in path.read_bytes() for path in daemon.home.path.rglob("*") if path.is_file())
    }


async def test_a_round_is_hidden_and_its_proof_holds(flock, tmp_path):
    """It is accepted although a proposer was killed, no opening is left anywhere, and the log gives the proof."""
    data = {name: write_dataset(tmp_path / f"{name}.data", rows=ROWS, columns=COLUMNS, seed=name) for name in NAMES}
    await start(flock)
    plan = Plan(
        name="clinics",
        participants=len(NAMES),
        escrow_fml=100,
        training=Training(passes=2, learning_rate_millionths=200_000, batch_size=16),
        family="linear",
        model={"inputs": [COLUMNS], "outputs": [2]},
        metric="accuracy",
        settings={"rounds": 1, "privacy": "zk", "attribution": "aggregate"},
    )
    with trio.fail_after(SETTLE_S):
        created = await create_alliance(flock[REPLICA], plan)
        await join_all(flock, created, data, test_share_millionths=TEST_SHARE_MILLIONTHS)
        openings = await disturb(flock, created.alliance)
        (settled,) = (await list_rounds(flock[REPLICA], created.alliance)).rounds
        await wait_until_forgotten(flock)
    assert settled.state == "accepted"
    assert not any(share.is_absent or share.slashed_units for share in settled.shares)
    assert len(settled.proven.summed) == len(openings) == 2
    for opening in openings.values():
        assert find_in_homes(flock.values(), opening) == set()
    code, _, error = flock[OTHERS[0]].run("alliance proof clinics 1 --out", tmp_path / "round.proof")
    assert code == 0, error
    code, output, _ = flock[OTHERS[0]].run("alliance verify-proof --json", tmp_path / "round.proof")
    assert code == 0
    report = json.loads(output)
    assert (report["valid"], report["digest"]) == (True, settled.proven.digest)
    assert [one["key"] for one in report["summed"]] == list(settled.proven.summed)
