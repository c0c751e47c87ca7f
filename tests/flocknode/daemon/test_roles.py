"""A whole task on seven real daemons whose accounts lie under passphrases, and what their logs say of it."""

from collections import Counter

import pytest
import trio

from flocknode import sealed_key
from flocknode.founding import load_document
from flocknode.keystore import (
    load_account_seed,
    load_consensus_seed,
    load_peer_seed,
    load_vrf_secret,
)
from flocknode.log_files import read_lines
from flocknode.participants.diary import Diary
from flocknode.rpc.client import open_client
from protocol import vrf
from protocol.crypto import hash_parts, integer_bytes
from protocol.genesis import genesis_digest
from storage.database import Database
from storage.notes import Notes
from tests.daemon_task import act, read_task, start
from tests.dataset_files import write_dataset
from tests.secret_spellings import spellings

CREATOR, TRAINERS, VALIDATORS = "alice", ("bob", "carol", "dave"), ("erin", "frank", "grace")
NAMES = (CREATOR, *TRAINERS, *VALIDATORS)
TASK, EPOCHS = 1, 2
SETTLE_S = 180
# What a block may add to the log of a node at level info.
LINES_OF_A_BLOCK = 2
# Lines that tell how the node does or how far a long training is, whatever the height, and not of a block.
OF_THE_NODE = ("started", "stopped", "waiting", "catching up", "a peer gave no blocks", "training")


@pytest.fixture
def flock(make_flock, monkeypatch):
    """Seven daemons of one chain, of which the creator alone decides blocks; all log at level debug."""
    monkeypatch.setattr(sealed_key, "OPERATIONS", 1)
    monkeypatch.setattr(sealed_key, "MEMORY_BYTES", 8192)
    return make_flock(NAMES, level="debug", with_passphrases=True)


async def perform(flock, data):
    """Run a task to its end, as told to a subscriber of the creator; return everything that was told."""
    model = {
        "family": "linear",
        "model": {"inputs": [3], "outputs": [2]},
        "metric": "accuracy",
        "measure_baseline": False,
    }
    files = {"dataset_a": data, "dataset_b": data}
    height = await act(flock[CREATOR], "arena.create", name="x", **model, **files, epochs=EPOCHS, escrow_units=10**12)
    common = {"task": str(TASK), "stake_units": 10**11}
    async with open_client(flock[CREATOR].home) as client, trio.open_nursery() as nursery:
        events = await client.subscribe(["tasks"], from_height=1)
        for number, name in enumerate(TRAINERS):
            training = {"passes": 1, "seed": number}
            own = {**common, "role": "trainer", "dataset": data, "training": training}
            nursery.start_soon(lambda name=name, own=own: act(flock[name], "arena.join", height, **own))
        for name in VALIDATORS:
            own = {**common, "role": "validator"}
            nursery.start_soon(lambda name=name, own=own: act(flock[name], "arena.join", height, **own))
        told = await read_task(events)
    assert told[-1].phase == "finished"
    return told


async def read_past(daemon):
    """Return the events of the task that a daemon knows of, up to its end."""
    async with open_client(daemon.home) as client:
        return await read_task(await client.subscribe(["tasks"], from_height=1))


def leave_out_work(told):
    """Return the events that every node tells alike."""
    return [(event.height, event.epoch, event.phase, event.text) for event in told if event.phase != "work"]


def find_secrets(daemon, document):
    """Return everything that must stay on a node, by name: keys, and what its diary holds of the task."""
    home, chain = daemon.home, genesis_digest(document)
    seed = load_account_seed(home, daemon.passphrase)
    secrets = {
        "passphrase": daemon.passphrase.encode(),
        "account": seed,
        "consensus": load_consensus_seed(home),
        "peer": load_peer_seed(home),
        "vrf": load_vrf_secret(home),
        "vrf of the task": vrf.key_from_seed(hash_parts("flock/vrf/task", seed, chain, integer_bytes(TASK))),
    }
    database = Database(home.database)
    try:
        diary = Diary(Notes(database))
        for root in [key.removeprefix(b"dataset") for key, _ in Notes(database).scan(b"dataset")]:
            secrets[f"dataset {root.hex()[:8]}"] = diary.load_dataset_key(root)
        for epoch in range(EPOCHS):
            if (entered := diary.load_submission(TASK, epoch)) is not None:
                secrets[f"submission {epoch}"] = entered.key
            if (scores := diary.load_scores(TASK, epoch)) is not None:
                secrets[f"salt {epoch}"] = scores.salt
    finally:
        database.close()
    return secrets


def check_logs(name, daemon, document):
    """Search what a stopped daemon and its worker wrote for its secrets, and count the lines of each block."""
    files = [daemon.output, *daemon.home.log_file.parent.iterdir(), *daemon.home.data.rglob("worker.log")]
    said = b"\n".join(path.read_bytes() for path in files)
    secrets = find_secrets(daemon, document)
    expected = {"dataset": name == CREATOR, "submission": name in TRAINERS, "salt": name in VALIDATORS}
    for kind, is_expected in expected.items():
        assert any(secret.startswith(kind) for secret in secrets) is is_expected, f"{name} and its {kind}"
    for secret, value in secrets.items():
        for spelling in spellings(value):
            assert spelling not in said, f"{name}: {secret} was told as {spelling!r}"
    lines = [line for line in read_lines(daemon.home.log_file, 0) if line.level == "info"]
    heights = Counter(line.fields["height"] for line in lines if line.event not in OF_THE_NODE)
    assert len(heights) > 10, f"{name} committed blocks"
    assert max(heights.values()) <= LINES_OF_A_BLOCK, f"{name}: {heights.most_common(1)} lines of a block"
    assert any(line.event == "round" for line in lines), f"{name} has a role in the task"


async def test_no_role_tells_its_secrets_or_talks_too_much(flock, tmp_path):
    """Creator, trainers, validators: no key in any log at any level, two lines a block, and the same past for all."""
    data = str(write_dataset(tmp_path / "data", rows=40, columns=3).absolute())
    await start(flock)
    with trio.fail_after(SETTLE_S):
        told = await perform(flock, data)
    assert sum(event.phase == "settled" for event in told) == EPOCHS
    for daemon in flock.values():
        code, seconds = await trio.to_thread.run_sync(daemon.stop)
        assert (code, seconds < 4) == (0, True), f"stopping took {seconds} s"
    for name in (CREATOR, "erin"):
        await trio.to_thread.run_sync(flock[name].start)
        past = await read_past(flock[name])
        assert leave_out_work(past) == leave_out_work(told), "all tell the same of a task, also after a restart"
        assert name != CREATOR or past == told, "and what the node itself did"
        await trio.to_thread.run_sync(flock[name].stop)
    document = load_document(flock[CREATOR].home.genesis_file)
    for name, daemon in flock.items():
        check_logs(name, daemon, document)
