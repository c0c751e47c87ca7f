"""An alliance that hides its updates on real daemons: their homes on one chain, their data, and what they keep."""

import trio

from devnet.alliances import POLL_S, Plan
from flocknode.founding import create_home, make_genesis
from flocknode.home import Home
from flocknode.rpc.alliance_records import Training
from tests.daemon_task import connect
from tests.dataset_files import write_dataset

ROWS, COLUMNS = 120, 8
TEST_SHARE_MILLIONTHS = 250_000


def make_flock(folder, make_daemon, names):
    """Return daemons, not started, of one chain whose first decides its blocks."""
    daemons = {name: make_daemon(Home(folder / name)) for name in names}
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
    return daemons


def kill_flock(daemons):
    """Kill whatever runs."""
    for daemon in daemons.values():
        if daemon.process is not None:
            daemon.process.kill()
            daemon.process.wait()


def write_data(folder, names):
    """Write a dataset file for each participant."""
    return {name: write_dataset(folder / f"{name}.data", rows=ROWS, columns=COLUMNS, seed=name) for name in names}


def make_plan(participants, **settings):
    """Return an alliance of one round on a small fresh model."""
    return Plan(
        name="clinics",
        participants=participants,
        escrow_fml=100,
        training=Training(passes=2, learning_rate_millionths=200_000, batch_size=16),
        family="linear",
        model={"inputs": [COLUMNS], "outputs": [2]},
        metric="accuracy",
        settings={"rounds": 1, "attribution": "aggregate", **settings},
    )


def find_blobs(flock, length):
    """Return the blobs of a length in all homes."""
    return [path for daemon in flock.values() for path in daemon.home.blobs.glob(f"*-{length}")]


async def wait_until_forgotten(flock, *, sealed=None):
    """Return once no daemon has a secret of a round left; each deletes them after it has the last block.

    With the length of sealed updates, once those are gone from all stores as well.
    """
    folders = [daemon.home.alliances for daemon in flock.values()]
    while any(path for folder in folders for path in folder.glob("*/hidden-*")):  # noqa: ASYNC110 - others decide
        await trio.sleep(POLL_S)
    while sealed is not None and find_blobs(flock, sealed):  # noqa: ASYNC110 - others decide
        await trio.sleep(POLL_S)
