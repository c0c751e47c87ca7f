"""The encrypted channel: the library's own session understands it, and it the library's."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from cryptography.exceptions import InvalidTag
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.noise.transport import Transport as Noise

from flocknode.network.channel import Channel

DATA = random.Random(4).randbytes(300_000)


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


def make_noise(seed: int) -> tuple[Noise, ID]:
    pair = create_new_key_pair(bytes([seed]) * 32)
    return Noise(pair, noise_privkey=create_noise_key_pair().private_key), ID.from_pubkey(pair.public_key)


@asynccontextmanager
async def sessions() -> AsyncIterator[tuple[Any, Any, Any]]:
    """Give the dialling session, the accepting one, and the stream under the dialling one."""
    left, right = trio.testing.memory_stream_pair()
    dialler, (acceptor, peer) = make_noise(1)[0], make_noise(2)
    made: dict[str, Any] = {}

    async def dial() -> None:
        made["dialled"] = await dialler.secure_outbound(RawConnection(Pipe(left), True), peer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        made["accepted"] = await acceptor.secure_inbound(RawConnection(Pipe(right), False))
    yield made["dialled"], made["accepted"], left


def keep(session: Any) -> Any:
    return session


@pytest.mark.parametrize(("send", "receive"), [(Channel, Channel), (keep, Channel), (Channel, keep)])
async def test_either_end_may_be_the_librarys(send: Callable[[Any], Any], receive: Callable[[Any], Any]) -> None:
    """Bytes written in pieces of all sizes are read in others: the format on the wire is Noise's, nothing else."""
    sizes = random.Random(5)
    async with sessions() as (dialled, accepted, _):
        sender, receiver = send(dialled), receive(accepted)

        async def write() -> None:
            at = 0
            while at < len(DATA):
                size = sizes.choice([1, 12, 65_519, 65_520, 100_000])
                await sender.write(DATA[at : at + size])
                at += size

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            got = b""
            while len(got) < len(DATA):
                got += await receiver.read(min(len(DATA) - len(got), sizes.choice([1, 2, 12, 65_519, 70_000])))
    assert got == DATA


async def test_what_the_library_had_read_already_comes_first() -> None:
    """A session is taken over with the bytes that it decrypted and nobody asked for yet."""
    async with sessions() as (dialled, accepted, _):
        await dialled.write(b"first second")
        assert await accepted.read(6) == b"first "
        channel = Channel(accepted)
        await dialled.write(b" third")
        assert await channel.read(12) == b"second third"


async def test_reading_without_a_number_gives_what_there_is() -> None:
    """At least one byte, and all that came."""
    async with sessions() as (dialled, accepted, _):
        await dialled.write(b"all of it")
        assert await Channel(accepted).read() == b"all of it"


async def test_the_end_and_a_forged_message_are_errors() -> None:
    """A peer that hangs up in the middle, and bytes that do not authenticate, end the connection."""
    async with sessions() as (dialled, accepted, stream):
        channel = Channel(accepted)
        await dialled.write(b"half")
        await stream.send_all((20).to_bytes(2, "big") + bytes(20))
        with pytest.raises(InvalidTag):
            await channel.read(8)
    async with sessions() as (dialled, accepted, stream):
        channel = Channel(accepted)
        await dialled.write(b"half")
        await stream.aclose()
        with pytest.raises(ConnectionClosedError):
            await channel.read(8)
