"""A peer in a process of its own: killed, paused, started again on the same port."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from flocknode.network import Topic

PEER = """
import sys, trio
from pathlib import Path
from flocknode.network import Network, Verdict
from storage.blobs import BlobStore

class Echo:
    async def handle(self, peer, topic, payload):
        network.send(peer, topic, b"echo " + payload)
        return Verdict.ACCEPT
    def peer_joined(self, peer): pass
    def peer_left(self, peer): pass
    def load_pair(self, height): return None

echo = Echo()
network = Network(chain=b"c" * 32, peer_seed=b"p" * 32, listen_port=int(sys.argv[1]), bootstrap=sys.argv[3:],
                  status=lambda: b"", handler=echo, blocks=echo, blobs=BlobStore(Path(sys.argv[2])))

async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        print(network.address, flush=True)

trio.run(main)
"""


@pytest.fixture
def launch(tmp_path: Path):
    """Start the peer's process and return it with its address; all are killed and their stderr read at the end."""
    processes: list[subprocess.Popen[str]] = []

    async def launch_peer(port: int, *bootstrap: str) -> tuple["subprocess.Popen[str]", str]:
        command = [sys.executable, "-c", PEER, str(port), str(tmp_path / "peer"), *bootstrap]
        process = subprocess.Popen(  # noqa: ASYNC220
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
        )
        processes.append(process)
        assert process.stdout is not None
        return process, (await trio.to_thread.run_sync(process.stdout.readline)).strip()

    yield launch_peer
    for process in processes:
        process.kill()
        _, errors = process.communicate()
        assert errors == "", "the library or we write to stderr"


async def _echo(node, peer: str, until: Callable, text: bytes) -> None:
    node.network.send(peer, Topic.CONSENSUS, text)
    await until(lambda: b"echo " + text in node.seen.payloads)


async def test_a_killed_peer_is_gone_at_once_and_back_as_soon_as_it_listens(start, launch, until) -> None:
    """kill -9, and the same key on the same port again: a link within two seconds, although it dials nobody."""
    process, address = await launch(0)
    node = await start(1, bootstrap=(address,))
    await until(lambda: node.network.peers)
    peer = next(iter(node.network.peers))
    await _echo(node, peer, until, b"first")
    process.kill()
    started = time.monotonic()
    await until(lambda: not node.network.peers)
    assert time.monotonic() - started < 1
    _, again = await launch(int(address.split("/")[4]))
    assert again == address
    started = time.monotonic()
    await until(lambda: node.network.peers)
    assert time.monotonic() - started < 2
    await _echo(node, peer, until, b"second")
    assert node.seen.events == [("joined", peer), ("left", peer), ("joined", peer)]


async def test_a_paused_peer_holds_nobody_up_and_comes_back(start, launch, until, trusting, monkeypatch) -> None:
    """SIGSTOP: its socket fills, it is given up; after SIGCONT both find each other again."""
    monkeypatch.setattr("flocknode.network.muxer.WRITE_STALL_S", 0.5)
    process, address = await launch(0)
    node = await start(1, bootstrap=(address,))
    other = await start(2, bootstrap=(node,))
    await until(lambda: len(node.network.peers) == 2)
    peer = address.split("/")[-1]
    process.send_signal(signal.SIGSTOP)
    for number in range(12):
        node.network.publish(Topic.TRANSACTIONS, bytes([number]) * 1_000_000)
        await until(lambda number=number: len(other.seen.messages) > number)
    await until(lambda: peer not in node.network.peers)
    process.send_signal(signal.SIGCONT)
    await until(lambda: peer in node.network.peers)
    await _echo(node, peer, until, b"awake")
