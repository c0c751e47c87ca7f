"""An attacker as a process of its own: libp2p peers without a stake that flood nodes. Started by `devnet.flooding`.

Reads its orders, one line of JSON, from standard input, floods until that ends, and then prints what it did. Each kind
of flood has a peer of its own for each target; one that is turned away again and again comes back under a new identity,
for identities cost nothing.
"""

import random
import sys
from pathlib import Path

import msgspec
import structlog
import trio

from devnet.floods import FLOODS, Flood, Heard
from flocknode.errors import ConnectionLost, NotRunning
from flocknode.home import Home
from flocknode.network.addresses import Address, parse_address
from flocknode.network.conduct import Conduct
from flocknode.network.errors import Misbehaviour, PeerUnreachable, StreamLost
from flocknode.network.gossip import PROTOCOL
from flocknode.network.greeting import MAX_GREETING_BYTES
from flocknode.network.host import Host
from flocknode.network.links import MAX_FRAME_BYTES
from flocknode.network.messages import PROTOCOL_VERSION, Hello, Message, Push, Refused
from flocknode.network.streams import Stream, frame, parse
from flocknode.rpc.client import open_client
from flocknode.rpc.records import Account, ChainHead
from protocol.crypto import public_key

# A peer that is turned away tries again, and after so many times in a row under a new identity.
RETRY_S = 0.5
TRIES = 4
# Sockets that say nothing: as many at once, and the pause before a round.
# They come after the links, for they would keep them out: a node shakes hands with 16 strangers at a time.
SOCKETS = 32
SOCKETS_PAUSE_S = 3.0
LOOK_S = 0.5
CONNECTIONS = "connections"


class Orders(msgspec.Struct, frozen=True):
    """Whom to flood; `home` is of a node whose log the attacker reads, as it could that of a node of its own."""

    chain: str
    seed: int
    account_seed: str
    home: str
    targets: tuple[str, ...]


class Deeds(msgspec.Struct):
    """What one kind of flood did: messages sent (or sockets opened), links, times turned away, and its identities."""

    sent: int = 0
    links: int = 0
    turned_away: int = 0
    peers: list[str] = msgspec.field(default_factory=list)


class Attacker:
    """All floods of one process, with what they did by kind."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.heard = Heard(bytes.fromhex(orders.chain), bytes.fromhex(orders.account_seed))
        self.deeds = {name: Deeds() for name in (*FLOODS, CONNECTIONS)}

    async def run(self) -> None:
        """Flood all targets until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look)
            for number, target in enumerate(map(parse_address, self.orders.targets)):
                nursery.start_soon(self._open_sockets, target)
                for name, flood in FLOODS.items():
                    rng = random.Random(f"{self.orders.seed} {name} {number}")
                    nursery.start_soon(self._flood, target, flood, self.deeds[name], rng)

    async def _look(self) -> None:
        """Keep up with the log."""
        address = public_key(self.heard.account_seed).hex()
        while True:
            try:
                async with open_client(Home(Path(self.orders.home))) as client:
                    self.heard.nonce = (await client.call("account.show", Account, address=address)).nonce
                    self.heard.height = (await client.call("chain.head", ChainHead)).height
            except (NotRunning, ConnectionLost):
                pass  # the node is being stopped, and soon this process, too
            await trio.sleep(LOOK_S)

    async def _flood(self, target: Address, flood: Flood, deeds: Deeds, rng: random.Random) -> None:
        """Flood one target under one identity after the other."""
        while True:
            host = Host(peer_seed=rng.randbytes(32), handlers={}, conduct=Conduct())
            deeds.peers.append(host.peer)
            async with trio.open_nursery() as nursery:
                await nursery.start(host.run, 0)
                turned_away = 0
                while turned_away < TRIES:
                    links = deeds.links
                    await self._flood_once(host, target, flood, deeds, rng)
                    turned_away = turned_away + 1 if deeds.links == links else 0
                    deeds.turned_away += deeds.links == links
                    await trio.sleep(RETRY_S)
                nursery.cancel_scope.cancel()

    async def _flood_once(self, host: Host, target: Address, flood: Flood, deeds: Deeds, rng: random.Random) -> None:
        """Link like an honest peer, then send until the link is lost."""
        try:
            connection = await host.dial(target)
        except PeerUnreachable:
            return
        try:
            stream = await connection.open_stream(PROTOCOL)
            await stream.write(frame(Hello(PROTOCOL_VERSION, self.heard.chain, rng.randbytes(32), b"", 0, None)))
            await stream.read_record(Hello, MAX_GREETING_BYTES)
            deeds.links += 1
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, stream)
                nursery.start_soon(self._send, stream, flood, deeds, rng)
        except* (PeerUnreachable, StreamLost, Misbehaviour):
            pass  # it hung up, or said why it does not want us
        finally:
            await connection.close()

    async def _listen(self, stream: Stream) -> None:
        """Take in what comes, or the other side's writer stalls. Raises `StreamLost`."""
        while True:
            body = await stream.read_frame(MAX_FRAME_BYTES)
            match parse(body, Message, MAX_FRAME_BYTES):
                case Push() as push:
                    self.heard.hear(push)
                case Refused(reason):
                    raise StreamLost(reason)

    async def _send(self, stream: Stream, flood: Flood, deeds: Deeds, rng: random.Random) -> None:
        """Send what there is to send, as fast as it is taken. Raises `StreamLost`."""
        while True:
            frames = flood.make(self.heard, rng)
            if frames:
                await stream.write(b"".join(frames))
            deeds.sent += len(frames)
            await trio.sleep(flood.pause_s if frames else LOOK_S)

    async def _open_sockets(self, target: Address) -> None:
        """Open sockets that say nothing, and wait until all of them are closed."""
        deeds = self.deeds[CONNECTIONS]
        while True:
            await trio.sleep(SOCKETS_PAUSE_S)
            async with trio.open_nursery() as nursery:
                for _ in range(SOCKETS):
                    nursery.start_soon(_hold_socket, target, deeds)


async def _hold_socket(target: Address, deeds: Deeds) -> None:
    try:
        socket = await trio.open_tcp_stream(target.host, target.port)
        deeds.sent += 1
        async with socket:
            while await socket.receive_some(4096):
                pass
    except (OSError, trio.BrokenResourceError):
        pass  # closed with force
    deeds.turned_away += 1


async def flood(orders: Orders) -> dict[str, Deeds]:
    """Flood until standard input ends; returns what was done."""
    attacker = Attacker(orders)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attacker.run)
        await trio.lowlevel.wait_readable(sys.stdin.fileno())
        nursery.cancel_scope.cancel()
    return attacker.deeds


def main() -> None:
    """Do as standard input says, and print what was done."""
    # What a node says of an attacker is on the node's own log.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    orders = msgspec.json.decode(sys.stdin.readline(), type=Orders)
    print(msgspec.json.encode(trio.run(flood, orders)).decode())


if __name__ == "__main__":
    main()
