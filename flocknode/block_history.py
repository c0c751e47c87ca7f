"""The past of the topic `blocks`: every block on the log, as the event that told of it."""

from collections.abc import Generator, Iterator

from flocknode.chain import Chain
from flocknode.rpc.history import PAGE_EVENTS, Page
from flocknode.rpc.records import BlockEvent, Event
from protocol.blocks import Block, block_id
from protocol.tendermint.messages import Commit

FIRST_HEIGHT = 1


def describe_commit(block: Block, commit: Commit, *, replicas: int, duration_ms: int | None) -> BlockEvent:
    """Return the event of a committed block; `replicas` is how many could sign it."""
    header = block.header
    return BlockEvent(
        height=header.height,
        block=block_id(header).hex(),
        round=commit.round,
        time_ms=header.time_ms,
        proposer=header.proposer.hex(),
        transactions=len(block.transactions),
        signed=len(commit.signatures),
        replicas=replicas,
        duration_ms=duration_ms,
    )


class BlockHistory:
    """Reads blocks from the log; their positions are their heights."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def next_position(self) -> int:
        """Return the height after the newest."""
        return self._chain.head.height + 1

    def find(self, start: int) -> int:
        """Return the height itself: the log is whole."""
        return max(start, FIRST_HEIGHT)

    def pages(self, position: int) -> Generator[Page, None, None]:
        """Yield the blocks from a height to the newest."""
        end, replicas = self.next_position(), len(self._chain.replicas.replicas)
        for first in range(position, end, PAGE_EVENTS):
            yield list(self._load(first, min(first + PAGE_EVENTS, end), replicas))

    def position_of(self, event: Event) -> int | None:
        """Return the height: a block is on the log before its event comes."""
        assert isinstance(event, BlockEvent), "the topic of blocks"
        return event.height

    def _load(self, first: int, end: int, replicas: int) -> Iterator[tuple[int, BlockEvent]]:
        for height in range(first, end):
            block, commit = self._chain.load_block(height), self._chain.load_commit(height)
            assert block is not None, "a height below the head without its block"
            assert commit is not None, "a committed block without its commit"
            # The set is the genesis document's, so today's number is that of any height.
            yield height, describe_commit(block, commit, replicas=replicas, duration_ms=None)
