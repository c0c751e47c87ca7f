"""An encrypted connection that moves whole receives and whole writes, not one Noise message at a time.

The handshake is the library's, Noise XX, with AES-256-GCM in place of ChaCha20-Poly1305: three times as fast on a
processor that knows AES. The library's session after it reads two bytes, then one message, then copies it three times,
and sends each message with a call of its own: half a millisecond for 64 KiB. The bytes on the wire are the same here.
"""

from typing import Any

from libp2p.custom_types import TProtocol
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH, SIZE_NOISE_MESSAGE_LEN
from libp2p.security.noise.transport import Transport
from libp2p.security.secure_session import SecureSession

from flocknode.network.parts import Parts

PROTOCOL = TProtocol("/flock/noise-aesgcm/1")
PATTERN = b"Noise_XX_25519_AESGCM_SHA256"
MAX_MESSAGE_BYTES = MAX_PLAINTEXT_LENGTH
# What one receive may bring; the kernel holds about as much of a connection that is read too slowly.
RECEIVE_BYTES = 512 * 1024


class Noise(Transport):  # type: ignore[misc]  # libp2p has no types that mypy may follow
    """The library's handshake with our choice of cipher."""

    def get_pattern(self) -> Any:
        """Return the handshake of one connection."""
        pattern = super().get_pattern()
        pattern.protocol_name = PATTERN
        return pattern


class Channel(SecureSession):  # type: ignore[misc]
    """A Noise session after its handshake, taken over from the library."""

    def __init__(self, session: SecureSession) -> None:
        super().__init__(
            local_peer=session.local_peer,
            local_private_key=session.local_private_key,
            remote_peer=session.remote_peer,
            remote_permanent_pubkey=session.remote_permanent_pubkey,
            is_initiator=session.is_initiator,
            conn=session.conn,
        )
        ciphers = session.conn.noise_state.noise_protocol
        self._encrypt, self._decrypt = ciphers.cipher_state_encrypt, ciphers.cipher_state_decrypt
        self._socket = session.conn.read_writer.read_write_closer
        self._received = b""
        self._plain = Parts()
        self._plain.append(session._drain(None))

    async def read(self, n: int | None = None) -> bytes:
        """Return `n` bytes, or what there is, at least one. Raises the library's errors at the connection's end."""
        while len(self._plain) < (1 if n is None else n):
            await self._receive()
        return self._plain.take(len(self._plain) if n is None else n)

    async def receive(self, most: int) -> memoryview:
        """Return some bytes, at least one, without copying them. Raises like `read`."""
        while not self._plain:
            await self._receive()
        return self._plain.take_part(most)

    async def write(self, data: bytes, body: bytes | memoryview = b"") -> None:
        """Send bytes, and then a body that is not copied for it, in as many messages as they take."""
        room = max(0, MAX_MESSAGE_BYTES - len(data))
        parts: list[bytes] = []
        for view, begin in (memoryview(data + body[:room]), 0), (memoryview(body), room):
            for start in range(begin, len(view), MAX_MESSAGE_BYTES):
                message = self._encrypt.encrypt_with_ad(None, view[start : start + MAX_MESSAGE_BYTES])
                parts += [len(message).to_bytes(SIZE_NOISE_MESSAGE_LEN, "big"), message]
        await self._socket.write(b"".join(parts))

    async def _receive(self) -> None:
        """Take what the socket has and decrypt every message that is whole by now."""
        received = await self._socket.read(RECEIVE_BYTES)
        if not received:
            raise ConnectionClosedError("the peer hung up", transport="tcp")
        received = self._received + received
        view, start, end = memoryview(received), 0, len(received)
        while start + SIZE_NOISE_MESSAGE_LEN <= end:
            body = start + SIZE_NOISE_MESSAGE_LEN
            after = body + int.from_bytes(view[start:body], "big")
            if after > end:
                break
            self._plain.append(self._decrypt.decrypt_with_ad(None, view[body:after]))
            start = after
        self._received = received[start:]
