"""A process that serves one blob: the network without a daemon around it. Started by `devnet.bench.blob`."""

import datetime
import sys
import time
from pathlib import Path
from threading import Lock

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flocknode import logs
from flocknode.network import Network, PeerId, Topic, Verdict
from protocol.blobs import BlobId, RunProof
from storage.blobs import BlobStore

CHAIN = b"c" * 32


class NoMessages:
    """A node that has nothing to say and believes nobody."""

    async def handle(self, peer: PeerId, topic: Topic, payload: bytes) -> Verdict:
        """Keep quiet about a message."""
        return Verdict.IGNORE

    def peer_joined(self, peer: PeerId) -> None:
        """Take no notice."""

    def peer_left(self, peer: PeerId) -> None:
        """Take no notice."""


class NoBlocks:
    """A log without blocks."""

    def load_pair(self, height: int) -> bytes | None:
        """Return nothing."""
        return None


class PacedStore(BlobStore):
    """A store whose runs leave no faster than an uplink would let them; as fast as it can when the uplink is 0."""

    def __init__(self, directory: Path, uplink_bytes_s: int) -> None:
        super().__init__(directory)
        self._uplink_bytes_s = uplink_bytes_s
        self._uplink = Lock()

    def read_run(self, blob: BlobId, first_piece: int) -> tuple[bytes, RunProof]:
        """Return a run once the uplink would have sent it."""
        data, proof = super().read_run(blob, first_piece)
        if self._uplink_bytes_s:
            with self._uplink:
                time.sleep(len(data) / self._uplink_bytes_s)
        return data, proof


async def serve(folder: Path, source: Path, number: int, uplink_bytes_s: int) -> None:
    """Put the file into a store, print address, root and length, and serve until killed."""
    store = PacedStore(folder, uplink_bytes_s)
    with source.open("rb") as file:
        blob = store.put(file)
    network = Network(
        chain=CHAIN,
        peer_seed=bytes([number]) * 32,
        listen_port=0,
        bootstrap=(),
        status=bytes,
        handler=NoMessages(),
        blocks=NoBlocks(),
        blobs=store,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        print(network.address, blob.root.hex(), blob.length, flush=True)


def write_certificate(folder: Path) -> Path:
    """Return a file with a fresh self-signed certificate and its key, for the raw TLS transfer."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "bench.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


if __name__ == "__main__":
    logs.configure(level="warning", console=sys.stderr)
    trio.run(serve, Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
