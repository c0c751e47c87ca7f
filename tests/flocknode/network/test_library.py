"""What is changed about libp2p."""

import io
import logging
from contextlib import redirect_stderr
from pathlib import Path

import libp2p
import structlog

from flocknode.network.library import quiet_library


def test_the_library_writes_to_our_log_and_not_to_stderr() -> None:
    """Its loggers, and its records on the root logger, stay off the terminal; others' records do not."""
    quiet_library()
    quiet_library()
    root = logging.getLogger()
    captured = io.StringIO()
    handler = logging.StreamHandler(captured)
    root.addHandler(handler)
    theirs = root.makeRecord("root", logging.WARNING, str(Path(libp2p.__file__).parent / "x.py"), 1, "theirs", (), None)
    ours = root.makeRecord("root", logging.WARNING, __file__, 1, "ours", (), None)
    try:
        with structlog.testing.capture_logs() as records, redirect_stderr(captured):
            logging.getLogger("libp2p.network.swarm").warning("peer %s hung up", "p")
            root.handle(theirs)
            root.handle(ours)
    finally:
        root.removeHandler(handler)
    assert captured.getvalue() == "ours\n"
    records = [record for record in records if record["event"] == "libp2p"]
    assert [record["message"] for record in records] == ["peer p hung up"]
    assert records[0]["log_level"] == "debug"
