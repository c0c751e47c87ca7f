"""How fast a blob comes from one peer and from three, beside a raw TLS 1.3 transfer of the same bytes in the same run.

Serving peers are processes of their own with nothing but the network in them; the fetching side is this process.
"""

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from operator import truediv
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import trio

from devnet.bench.figures import Figure, Report
from devnet.bench.peer import CHAIN, NoBlocks, NoMessages, write_certificate
from flocknode.network import Network
from protocol.blobs import BlobId
from storage.blobs import BlobStore

BLOB_BYTES = 200 * 2**20
RECEIVE_BYTES = 2**20
PEERS = 3
ROUNDS = 5
# Over loopback one peer fills the machine's cores, so that more of them cannot show; a line of 320 Mbit/s can.
UPLINK_BYTES_S = 40_000_000
LINK_S = 20.0


async def bench_blob() -> Report:
    """Measure the transfers in turns, for a disk is not always as fast; medians of the rounds count."""
    tls, one, three = [], [], []
    with TemporaryDirectory(prefix="flocknode-bench-") as folder:
        root = Path(folder)
        source = root / "blob.bin"
        source.write_bytes(os.urandom(BLOB_BYTES))
        for _ in range(ROUNDS):
            tls.append(await trio.to_thread.run_sync(measure_tls, root, source))
            one.append(await measure_fetch(root, source, peers=1))
            three.append(await measure_fetch(root, source, peers=PEERS))
        slow_one = await measure_fetch(root, source, peers=1, uplink_bytes_s=UPLINK_BYTES_S)
        slow_three = await measure_fetch(root, source, peers=PEERS, uplink_bytes_s=UPLINK_BYTES_S)
    return Report(
        bench="blob",
        conditions=f"{BLOB_BYTES // 2**20} MiB over loopback, verified on arrival and written to disk, {ROUNDS} rounds",
        figures=(
            Figure(name="raw TLS 1.3", value=median(tls), unit="MB/s"),
            Figure(name="from one peer", value=median(one), unit="MB/s"),
            Figure(name=f"from {PEERS} peers", value=median(three), unit="MB/s"),
            Figure(name="ratio of one peer to TLS", value=median(map(truediv, one, tls)), unit="", goal="at least 0.5"),
            Figure(name=f"from one peer that sends {UPLINK_BYTES_S // 10**6} MB/s", value=slow_one, unit="MB/s"),
            Figure(name=f"from {PEERS} such peers", value=slow_three, unit="MB/s", goal="more than from one"),
        ),
    )


async def measure_fetch(root: Path, source: Path, *, peers: int, uplink_bytes_s: int = 0) -> float:
    """Return the rate, in MB/s, at which a blob arrives from so many serving peers, each behind an uplink or none.

    Like the raw transfer it writes to a new file and leaves none behind: a file that replaces another of its size finds
    the memory for it warm.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(dir=root)))
        serving = [
            stack.enter_context(serve(folder / f"peer-{number}", source, number, uplink_bytes_s))
            for number in range(peers)
        ]
        store = BlobStore(make_folder(folder / "fetched"))
        network = Network(
            chain=CHAIN,
            peer_seed=b"f" * 32,
            listen_port=0,
            bootstrap=[address for address, _ in serving],
            status=bytes,
            handler=NoMessages(),
            blocks=NoBlocks(),
            blobs=store,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(network.run)
            with trio.fail_after(LINK_S):
                while len(network.peers) < peers:  # noqa: ASYNC110 - other processes decide
                    await trio.sleep(0.02)
            began = time.perf_counter()
            await network.fetch_blob(serving[0][1])
            passed = time.perf_counter() - began
            nursery.cancel_scope.cancel()
    return BLOB_BYTES / 1e6 / passed


@contextlib.contextmanager
def serve(folder: Path, source: Path, number: int, uplink_bytes_s: int) -> Iterator[tuple[str, BlobId]]:
    """Run a process that serves the blob; gives its address and the blob's id."""
    arguments = [str(make_folder(folder)), str(source), str(number), str(uplink_bytes_s)]
    command = [sys.executable, "-P", "-m", "devnet.bench.peer", *arguments]
    search = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": search})
    try:
        assert process.stdout is not None
        address, blob_root, length = process.stdout.readline().split()
        yield address, BlobId(bytes.fromhex(blob_root), int(length))
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def measure_tls(folder: Path, source: Path) -> float:
    """Return the rate, in MB/s, of the same bytes through one TLS 1.3 connection between two processes, to disk."""
    certificate = write_certificate(folder)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    sender = subprocess.Popen(
        [sys.executable, "-P", "-m", "devnet.bench.tls", str(certificate), str(source), str(port)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    try:
        return receive_tls(listener, certificate, folder / "received.bin")
    finally:
        sender.kill()
        sender.wait()
        listener.close()
        (folder / "received.bin").unlink(missing_ok=True)


def receive_tls(listener: socket.socket, certificate: Path, target: Path) -> float:
    """Take one connection and write what comes to a file, synced at the end; returns MB/s."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate)
    plain, _ = listener.accept()
    with context.wrap_socket(plain, server_side=True) as stream, target.open("wb") as file:
        began, received, buffer = time.perf_counter(), 0, memoryview(bytearray(RECEIVE_BYTES))
        while received < BLOB_BYTES and (count := stream.recv_into(buffer)):
            file.write(buffer[:count])
            received += count
        file.flush()
        os.fsync(file.fileno())
        return received / 1e6 / (time.perf_counter() - began)


def make_folder(path: Path) -> Path:
    """Return a folder that exists from now on."""
    path.mkdir(parents=True)
    return path
