"""What can go wrong between this node and its peers."""

from typing import ClassVar

from flocknode.errors import FlocknodeError


class NetworkError(FlocknodeError):
    """Base: peers could not be reached, or did not do what was asked of them."""

    number: ClassVar[int] = 120


class PortInUse(NetworkError):
    """Another process listens on the port."""

    number = 121
    help = (
        "If that is another flocknode, `flocknode stop --home ITS_HOME` ends it; otherwise set `network.port` in "
        "config.toml to a free port, or to 0 to have one chosen."
    )


class PeerUnreachable(NetworkError):
    """A peer is not connected, does not accept connections, or did not answer in time."""

    number = 122


class BlobUnavailable(NetworkError):
    """No connected peer delivered the whole blob; what arrived is kept, and the next attempt resumes there."""

    number = 123
    help = "Wait until a peer that holds it is connected; `flocknode status` lists the peers."


class StreamLost(NetworkError):
    """The other side closed or reset a stream, or its connection broke: nobody's fault."""

    number = 124


class LinkRefused(NetworkError):
    """One of two peers does not want the other: another chain, another protocol version, no room, or a second link."""

    number = 125


class RelayBusy(NetworkError):
    """A relay holds as much as it may, of everybody or of this peer."""

    number = 127


class ParcelRefused(NetworkError):
    """A relay does not take a parcel: the envelope is not for it, came before, or leads to nothing that may be."""

    number = 128


class Misbehaviour(NetworkError):
    """A peer did what no honest peer does; `points` is what that costs it (see `conduct.FAULT_LIMIT`)."""

    number = 126

    def __init__(self, message: str, *, points: int) -> None:
        super().__init__(message)
        self.points = points
