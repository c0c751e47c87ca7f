"""A process that sends a file through one TLS 1.3 connection. Started by `devnet.bench.blob`."""

import socket
import ssl
import sys
from pathlib import Path

SEND_BYTES = 2**20


def send(certificate: Path, source: Path, port: int) -> None:
    """Connect to the port on this machine and send the file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.load_verify_locations(certificate)
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain) as stream,
        source.open("rb") as file,
    ):
        while piece := file.read(SEND_BYTES):
            stream.sendall(piece)


if __name__ == "__main__":
    send(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
