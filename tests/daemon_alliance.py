"""An alliance on real daemons: its plan, their data, a participant that is killed in a round, and what they keep."""

import trio

from devnet.alliances import POLL_S, Plan, list_rounds
from flocknode.keystore import load_public_keys
from flocknode.rpc.alliance_records import Training
from tests.dataset_files import write_dataset

ROWS, COLUMNS = 120, 8
TEST_SHARE_MILLIONTHS = 250_000


def write_data(folder, names):
    """Write a dataset file for each participant."""
    return {name: write_dataset(folder / f"{name}.data", rows=ROWS, columns=COLUMNS, seed=name) for name in names}


def make_plan(participants, *, name="clinics", **settings):
    """Return an alliance on a small fresh model, of one round if nothing else is said."""
    return Plan(
        name=name,
        participants=participants,
        escrow_fml=100,
        training=Training(passes=2, learning_rate_millionths=200_000, batch_size=16),
        family="linear",
        model={"inputs": [COLUMNS], "outputs": [2]},
        metric="accuracy",
        settings={"rounds": 1, **settings},
    )


async def restart_selected(flock, alliance, role):
    """Kill a daemon that has a role in the running round, not the first, start it again, and return its name."""
    first, *others = flock
    (running,) = (await list_rounds(flock[first], alliance)).rounds
    selected = {share.account for share in running.shares if share.role == role}
    killed = next(name for name in others if load_public_keys(flock[name].home).account.hex() in selected)
    flock[killed].kill()
    await trio.to_thread.run_sync(flock[killed].start)
    return killed


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
