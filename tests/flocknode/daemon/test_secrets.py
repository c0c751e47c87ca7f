"""No secret of a home ever leaves it: everything that a real daemon says is searched for its keys."""

import json
import os
import socket
from pathlib import Path

from jsonrpcclient import request

from flocknode.config import change_setting
from flocknode.keystore import load_account_seed, load_consensus_seed, load_peer_seed, load_vrf_secret
from flocknode.participants.diary import Diary
from storage.database import Database
from storage.notes import Notes
from tests.secret_spellings import spellings

BOB = "0b" * 32


def make_secrets(daemon):
    """Return everything that must stay on this node, by name."""
    secrets = {
        "passphrase": daemon.passphrase.encode(),
        "account": load_account_seed(daemon.home, daemon.passphrase),
        "consensus": load_consensus_seed(daemon.home),
        "peer": load_peer_seed(daemon.home),
        "vrf": load_vrf_secret(daemon.home),
    }
    database = Database(daemon.home.database)
    try:
        notes = Notes(database)
        keys = [value for _, value in notes.scan(b"dataset")]
        assert len(keys) == 2, "the task's two datasets have keys of their own"
        diary = Diary(notes)
        roots = [key.removeprefix(b"dataset")[-32:] for key, _ in notes.scan(b"dataset")]
        secrets |= {f"dataset {number}": diary.load_dataset_key(root) for number, root in enumerate(roots)}
    finally:
        database.close()
    assert all(secrets.values())
    return secrets


def test_no_secret_leaves_the_node(daemon, tmp_path):
    """Keys, passphrase and dataset keys are in no line of the log, not even at level debug, and in no answer."""
    change_setting(daemon.home, "log.level", "debug")
    daemon.start()
    (tmp_path / "data").write_bytes(os.urandom(100_000))
    heard = []

    def ask(message):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(30)
            connection.connect(str(daemon.home.find_socket()))
            connection.sendall(json.dumps(message).encode() + b"\n")
            heard.append(connection.makefile("rb").readline())
        return json.loads(heard[-1])

    # What is given wrongly must not come back in the words of the error either.
    for params in (
        {"passphrase": daemon.passphrase, "extra": 1},
        {"passphrase": [daemon.passphrase]},
        {"passphrase": daemon.passphrase + "!"},
    ):
        assert "error" in ask(request("keys.unlock", params=params))
    assert "result" in ask(request("keys.unlock", params={"passphrase": daemon.passphrase}))
    data = str(tmp_path / "data")
    task = {"name": "x", "family": "linear", "model": {"inputs": [4], "outputs": [2]}, "metric": "accuracy"}
    spec = {
        **task,
        "measure_baseline": False,
        "dataset_a": data,
        "dataset_b": data,
        "epochs": 2,
        "escrow_units": 10**12,
    }
    assert "result" in ask(request("arena.create", params=spec)), heard[-1]
    head = ask(request("chain.head"))["result"]
    transfer = ask(request("tx.transfer", params={"to": BOB, "amount_units": 1}))["result"]
    samples = {"task": "1", "height": head["height"], "id": transfer["id"], "lines": 1000, "level": "debug"}
    for method in ask(request("rpc.discover"))["result"]["methods"]:
        if method["name"] in ("node.stop", "keys.unlock") or method["name"].startswith("log.repair"):
            continue
        known = {param["name"]: samples[param["name"]] for param in method["params"] if param["name"] in samples}
        ask(request(method["name"], params=known))
    for command in ("status", "keys show", "config show", "doctor", "logs --level debug", "keys show --json"):
        heard += [text.encode() for text in daemon.run(command)[1:]]
    daemon.stop()
    said = b"\n".join(
        [*heard, daemon.output.read_bytes(), *map(Path.read_bytes, daemon.home.log_file.parent.iterdir())]
    )
    said += b"".join(path.read_bytes() for path in daemon.home.data.rglob("worker.log"))
    assert b"account unlocked" in said
    for name, secret in make_secrets(daemon).items():
        for spelling in spellings(secret):
            assert spelling not in said, f"{name} was told as {spelling!r}"
