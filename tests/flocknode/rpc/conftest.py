"""A server over a real Unix socket with a few methods, and raw access to it."""

import json
from contextlib import asynccontextmanager

import pytest
import trio

from flocknode.home import Home
from flocknode.rpc.events import EventHub
from flocknode.rpc.records import BlockEvent
from flocknode.rpc.server import RpcServer
from protocol.errors import WrongNonce


class Served:
    """A running server: its home, its hub, and an event that the method `t.wait` waits for."""

    def __init__(self, path):
        self.home = Home(path)
        self.home.create()
        self.home.config_file.write_text("")
        self.hub = EventHub()
        self.released = trio.Event()
        self.stopped = trio.Event()
        handlers = {"t.add": self.add, "t.wait": self.wait, "t.refuse": self.refuse, "t.big": self.big}
        self.server = RpcServer(self.home.choose_socket(), {**handlers, "t.stop": self.stop}, self.hub)

    async def add(self, *, left: int, right: int = 1) -> int:
        """Add."""
        return left + right

    async def wait(self) -> str:
        """Return when the test says so."""
        await self.released.wait()
        return "released"

    async def refuse(self) -> int:
        """Refuse."""
        raise WrongNonce("wrong nonce", have=1, need=2)

    async def big(self, *, size: int) -> str:
        """Return a long text."""
        return "x" * size

    async def stop(self) -> int:
        """Stop the server."""
        self.stopped.set()
        return 1

    def publish_block(self, height):
        """Publish the event of a block."""
        self.hub.publish(
            "blocks",
            BlockEvent(
                height=height,
                block="b" * 64,
                round=0,
                time_ms=1,
                proposer="a" * 64,
                transactions=1,
                signed=3,
                replicas=4,
                duration_ms=9,
            ),
        )

    @asynccontextmanager
    async def connect(self):
        """Open a raw connection: a function that sends bytes, and one that receives a decoded line."""
        stream = await trio.open_unix_socket(str(self.home.find_socket()))
        buffer = bytearray()

        async def receive():
            while b"\n" not in buffer:
                chunk = await stream.receive_some(65536)
                if not chunk:
                    return None
                buffer.extend(chunk)
            line, _, rest = bytes(buffer).partition(b"\n")
            buffer[:] = rest
            return json.loads(line)

        async with stream:
            yield stream, receive


@pytest.fixture
async def served(tmp_path, nursery):
    """A server that runs for the length of a test."""
    served = Served(tmp_path / "home")

    async def run(task_status=trio.TASK_STATUS_IGNORED):
        async with trio.open_nursery() as inner:
            await inner.start(served.server.run)
            task_status.started()
            await served.stopped.wait()
            inner.cancel_scope.cancel()

    await nursery.start(run)
    return served
