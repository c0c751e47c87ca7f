"""Nodes on loopback TCP in one process, and what they saw."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.noise.transport import Transport

from flocknode.network import Network, PeerId, Topic, Verdict
from flocknode.network.addresses import parse_address
from flocknode.network.budgets import BACKED
from flocknode.network.channel import Noise
from flocknode.network.conduct import Conduct
from flocknode.network.gossip import PROTOCOL, Gossip
from flocknode.network.host import Connection, Host, StreamHandler
from flocknode.network.messages import PROTOCOL_VERSION, Hello
from flocknode.network.streams import Stream, frame
from storage.blobs import BlobStore

CHAIN = b"c" * 32
PATIENCE_S = 10.0


class Recorder:
    """A handler that keeps what it is given and answers as told; also a source of blocks."""

    def __init__(self) -> None:
        self.verdict = Verdict.ACCEPT
        self.messages: list[tuple[PeerId, Topic, bytes]] = []
        self.events: list[tuple[str, PeerId]] = []
        self.pairs: dict[int, bytes] = {}
        self.gate = trio.Event()
        self.gate.set()

    async def handle(self, peer: PeerId, topic: Topic, payload: bytes) -> Verdict:
        await self.gate.wait()
        self.messages.append((peer, topic, payload))
        return self.verdict

    def peer_joined(self, peer: PeerId) -> None:
        self.events.append(("joined", peer))

    def peer_left(self, peer: PeerId) -> None:
        self.events.append(("left", peer))

    def load_pair(self, height: int) -> bytes | None:
        return self.pairs.get(height)

    @property
    def payloads(self) -> list[bytes]:
        return [payload for _, _, payload in self.messages]


class Node:
    """One network with its recorder and blob store, and the nursery task it runs in."""

    def __init__(self, network: Network, seen: Recorder, store: BlobStore) -> None:
        self.network = network
        self.seen = seen
        self.store = store
        self.scope = trio.CancelScope()
        self.stopped = trio.Event()

    @property
    def peer(self) -> PeerId:
        return self.network.peer

    @property
    def gossip(self) -> Gossip:
        return self.network._gossip

    @property
    def conduct(self) -> Conduct:
        return self.network._conduct

    @property
    def port(self) -> int:
        return parse_address(self.network.address).port

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        with self.scope:
            await self.network.run(task_status=task_status)
        self.stopped.set()

    async def stop(self) -> None:
        self.scope.cancel()
        await self.stopped.wait()


class Attacker:
    """A libp2p host without our manners: it links like an honest peer and then sends what a test wants."""

    def __init__(self, host: Host) -> None:
        self.host = host

    async def dial(self, node: Node) -> Connection:
        return await self.host.dial(parse_address(node.network.address))

    async def link(self, node: Node, incarnation: bytes = b"i") -> tuple[Connection, Stream]:
        """Dial and say hello; return when the node has admitted us."""
        connection = await self.dial(node)
        stream = await connection.open_stream(PROTOCOL)
        await stream.write(frame(Hello(PROTOCOL_VERSION, CHAIN, incarnation * 32, b"", 0, None)))
        with trio.fail_after(PATIENCE_S):
            await stream.read_frame(4096)
            await wait_until(lambda: self.host.peer in node.network.peers)
        return connection, stream


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait for sockets to have done their work."""
    with trio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # no event tells what sockets and other tasks have done
            await trio.sleep(0.005)


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Awaitable[None]]:
    return wait_until


@pytest.fixture
def start(nursery: trio.Nursery, tmp_path: Path) -> Callable[..., Awaitable[Node]]:
    """Start a node: `await start(1, bootstrap=[other], chain=..., port=...)`; the number seeds its key.

    It looks for no peers but those of the bootstrap list, unless told to.
    """

    async def start_node(
        number: int, *, bootstrap: tuple[object, ...] = (), chain: bytes = CHAIN, port: int = 0, **more: object
    ) -> Node:
        seen, store = Recorder(), BlobStore(tmp_path / f"blobs{number}")
        addresses = [other if isinstance(other, str) else other.network.address for other in bootstrap]
        network = Network(
            chain=chain,
            peer_seed=bytes([number]) * 32,
            listen_port=port,
            bootstrap=addresses,
            status=lambda: f"node {number}".encode(),
            handler=seen,
            blocks=seen,
            blobs=store,
            **{"wanted_links": 0, **more},
        )
        node = Node(network, seen, store)
        await nursery.start(node.run)
        return node

    return start_node


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all nodes allow strangers what they allow peers with a bond."""
    monkeypatch.setattr("flocknode.network.budgets.STRANGER", BACKED)


@pytest.fixture
def linked(start: Callable[..., Awaitable[Node]]) -> Callable[..., Awaitable[list[Node]]]:
    """Start nodes that all know each other: `await linked(3)`."""

    async def start_linked(count: int) -> list[Node]:
        nodes: list[Node] = []
        for number in range(1, count + 1):
            nodes.append(await start(number, bootstrap=tuple(nodes)))
        await wait_until(lambda: all(len(node.network.peers) == count - 1 for node in nodes))
        return nodes

    return start_linked


@pytest.fixture
def attack(nursery: trio.Nursery) -> Callable[..., Awaitable[Attacker]]:
    """Start an attacker: `await attack(seed=b"x", handlers={protocol: handler})`."""

    async def start_attacker(seed: bytes = b"x", handlers: Mapping[str, StreamHandler] | None = None) -> Attacker:
        host = Host(peer_seed=seed * 32, handlers=handlers or {}, conduct=Conduct())
        await nursery.start(host.run, 0)
        return Attacker(host)

    return start_attacker


class Pipe:
    """A library stream over one of trio's in memory."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    async def write(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def read(self, n: int | None = None) -> bytes:
        return bytes(await self.stream.receive_some(n))

    async def close(self) -> None:
        await self.stream.aclose()

    def get_remote_address(self) -> None:
        return None


def make_noise(seed: int, transport: type[Transport]) -> tuple[Transport, ID]:
    pair = create_new_key_pair(bytes([seed]) * 32)
    return transport(pair, noise_privkey=create_noise_key_pair().private_key), ID.from_pubkey(pair.public_key)


@pytest.fixture
def sessions() -> Callable[..., AbstractAsyncContextManager[tuple[Any, Any, Any]]]:
    """Shake hands in memory: `async with sessions() as (dialled, accepted, the stream under the dialled one)`."""

    @asynccontextmanager
    async def shake_hands(transport: type[Transport] = Noise) -> AsyncIterator[tuple[Any, Any, Any]]:
        left, right = trio.testing.memory_stream_pair()
        dialler, (acceptor, peer) = make_noise(1, transport)[0], make_noise(2, transport)
        made: dict[str, Any] = {}

        async def dial() -> None:
            made["dialled"] = await dialler.secure_outbound(RawConnection(Pipe(left), True), peer)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(dial)
            made["accepted"] = await acceptor.secure_inbound(RawConnection(Pipe(right), False))
        yield made["dialled"], made["accepted"], left

    return shake_hands
