"""The one file that changes what libp2p does beyond its interfaces, and why. Everything else uses it as it is.

* The library's upgrade takes its own muxer whatever it was given.
* The library logs through its own loggers and through the root logger, at levels that are not ours: a peer that hangs
  up is an everyday matter here.
"""

import logging
from pathlib import Path
from typing import Any

import libp2p
import structlog
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID

from flocknode.network.channel import Channel
from flocknode.network.muxer import Muxer

log = structlog.get_logger("flocknode.network")


class Muxers(MuxerMultistream):  # type: ignore[misc]  # libp2p has no types that mypy may follow
    """Agrees on yamux and takes our class for it; the library's own choice ignores the class it was given."""

    def __init__(self) -> None:
        super().__init__({PROTOCOL_ID: Muxer})

    async def new_conn(self, conn: Any, peer_id: Any) -> Muxer:
        """Return the muxer for a secured connection. Raises the library's `MultiselectError`."""
        await self.select_transport(conn)
        return Muxer(Channel(conn), peer_id)


class _ToOurLog(logging.Handler):
    """Passes the library's records on at debug level."""

    def emit(self, record: logging.LogRecord) -> None:
        log.debug("libp2p", message=record.getMessage(), level_there=record.levelname)


class _NotOfLibrary(logging.Filter):
    """Refuses records that the library writes to the root logger."""

    _folder = str(Path(libp2p.__file__).parent)

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.pathname.startswith(self._folder)


def quiet_library() -> None:
    """Keep the library off stderr. Safe to call twice."""
    logger = logging.getLogger("libp2p")
    logger.handlers[:] = [_ToOurLog(logging.WARNING)]
    logger.propagate = False
    root = logging.getLogger()
    if not any(isinstance(existing, _NotOfLibrary) for existing in root.filters):
        root.addFilter(_NotOfLibrary())
