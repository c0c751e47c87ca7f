"""How far a node is behind, as work that people can watch."""

import trio

from flocknode.rpc.events import EventHub
from flocknode.telling import MIN_BEHIND_BLOCKS, follow_catch_up
from flocknode.work import Works


class Behind:
    """A chain and a replica in one: the log grows when the test says so."""

    def __init__(self, target_height):
        self.height = 0
        self.target_height = target_height
        self.changed = trio.Event()

    @property
    def head(self):
        return self

    async def wait_for_height(self, height):
        while self.height < height:
            await self.changed.wait()

    def grow(self, blocks):
        self.height += blocks
        self.changed.set()
        self.changed = trio.Event()


def start(nursery, behind):
    hub, told = EventHub(), []
    hub.publish = lambda topic, event: told.append(event)
    nursery.start_soon(follow_catch_up, behind, behind, Works(hub))
    return told


async def test_catching_up_is_work_with_an_end(nursery, autojump_clock):
    """A node that is far behind reports heights, and is done when it has them all."""
    behind = Behind(100)
    told = start(nursery, behind)
    for _ in range(10):
        await trio.sleep(1)
        behind.grow(10)
    await trio.sleep(1)
    assert [(told[0].kind, told[0].unit, told[0].done, told[0].total)] == [("catching up", "blocks", 0, 100)]
    assert [event.done for event in told] == sorted(event.done for event in told)
    assert told[-1].state == "done"
    assert all(event.state == "running" for event in told[:-1])


async def test_a_few_blocks_are_nothing_to_tell(nursery, autojump_clock):
    """What a block or two behind looks like in passing is no work."""
    told = start(nursery, Behind(MIN_BEHIND_BLOCKS - 1))
    await trio.sleep(10)
    assert told == []


async def test_a_peer_that_takes_back_its_claim_ends_the_work(nursery, autojump_clock):
    """Where nobody has more blocks after all, the work ends although nothing came."""
    behind = Behind(100)
    told = start(nursery, behind)
    await trio.sleep(2)
    behind.target_height = 0
    await trio.sleep(2)
    assert told[-1].state == "done"
