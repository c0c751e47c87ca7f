"""The bounded queue between tasks that must not wait and tasks that may."""

from flocknode.network.mailbox import Mailbox
from flocknode.network.messages import Topic


async def test_urgent_topics_leave_first_and_each_in_order() -> None:
    """Consensus overtakes transactions, which overtake announcements; within a topic order is kept."""
    box: Mailbox[str] = Mailbox()
    for topic, item in [(2, "a1"), (1, "t1"), (0, "c1"), (1, "t2"), (0, "c2")]:
        box.put(Topic(topic), item, 1)
    assert await box.take(100) == ["c1", "c2", "t1", "t2", "a1"]
    assert len(box) == 0


async def test_overflow_drops_the_least_urgent_oldest_first_and_counts() -> None:
    """A flood of announcements costs no vote, and a flood of votes keeps the newest."""
    box: Mailbox[str] = Mailbox(max_items=3, max_bytes=1000)
    box.put(Topic.CONSENSUS, "c1", 1)
    for number in range(5):
        box.put(Topic.ANNOUNCEMENTS, f"a{number}", 1)
    assert box.dropped == 3
    for number in range(2, 6):
        box.put(Topic.CONSENSUS, f"c{number}", 1)
    assert await box.take(100) == ["c3", "c4", "c5"]


async def test_bytes_are_bounded_too() -> None:
    """Large items push each other out; an item larger than the whole box is dropped at once."""
    box: Mailbox[str] = Mailbox(max_items=100, max_bytes=10)
    for item in ("a", "b", "c"):
        box.put(Topic.TRANSACTIONS, item, 4)
    assert await box.take(100) == ["b", "c"]
    box.put(Topic.CONSENSUS, "huge", 11)
    assert (len(box), box.dropped) == (0, 2)


async def test_take_stops_at_the_bytes_asked_for_but_always_returns_one() -> None:
    """A batch fits one write; an item larger than that leaves alone."""
    box: Mailbox[str] = Mailbox()
    for item, size in [("large", 50), ("x", 4), ("y", 4), ("z", 4)]:
        box.put(Topic.CONSENSUS, item, size)
    assert await box.take(10) == ["large"]
    assert await box.take(10) == ["x", "y"]
    assert await box.take(10) == ["z"]
