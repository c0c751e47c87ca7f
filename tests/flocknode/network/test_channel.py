"""The encrypted channel: the library's own session understands it, and it the library's."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import trio
from cryptography.exceptions import InvalidTag
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.security.noise.transport import Transport

from flocknode.network.channel import Channel, Noise

DATA = random.Random(4).randbytes(300_000)


def keep(session: Any) -> Any:
    return session


@pytest.mark.parametrize("transport", [Noise, Transport])
@pytest.mark.parametrize(("send", "receive"), [(Channel, Channel), (keep, Channel), (Channel, keep)])
async def test_either_end_may_be_the_librarys(
    sessions, send: Callable[[Any], Any], receive: Callable[[Any], Any], transport: type[Transport]
) -> None:
    """Bytes written in pieces of all sizes are read in others: the format on the wire is Noise's, nothing else."""
    sizes = random.Random(5)
    async with sessions(transport) as (dialled, accepted, _):
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


async def test_what_the_library_had_read_already_comes_first(sessions) -> None:
    """A session is taken over with the bytes that it decrypted and nobody asked for yet."""
    async with sessions() as (dialled, accepted, _):
        await dialled.write(b"first second")
        assert await accepted.read(6) == b"first "
        channel = Channel(accepted)
        await dialled.write(b" third")
        assert await channel.read(12) == b"second third"


async def test_reading_without_a_number_gives_what_there_is(sessions) -> None:
    """At least one byte, and all that came."""
    async with sessions() as (dialled, accepted, _):
        await dialled.write(b"all of it")
        assert await Channel(accepted).read() == b"all of it"


async def test_the_end_and_a_forged_message_are_errors(sessions) -> None:
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


async def test_a_body_follows_its_header_in_the_same_messages(sessions) -> None:
    """Header and body are one run of bytes on the other side, whatever the length of the body."""
    async with sessions() as (dialled, accepted, _):
        sender, receiver = Channel(dialled), Channel(accepted)
        for size in (0, 1, 65_507, 65_508, 70_000, 200_000):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sender.write, b"twelve bytes", memoryview(DATA)[:size])
                assert await receiver.read(12) == b"twelve bytes"
                got = b""
                while len(got) < size:
                    part = await receiver.receive(size - len(got))
                    assert part
                    got += part
            assert got == DATA[:size]


async def test_the_cipher_is_the_one_that_processors_know(sessions) -> None:
    """Both ends agree on AES-256-GCM."""
    async with sessions() as (dialled, accepted, _):
        for session in (dialled, accepted):
            assert session.conn.noise_state.noise_protocol.name == b"Noise_XX_25519_AESGCM_SHA256"
