"""What the merged stream repeats and what it says once."""

import io

from rich.console import Console

from devnet.feed import MAX_REMEMBERED, FirstOnly, Told, shared_part
from devnet.screen import Screen, is_shown
from flocknode.logs import format_text
from flocknode.rpc.records import LogLine, TaskEvent


def line(event, *, level="info", **fields):
    """Return a line as a daemon logs it."""
    return LogLine(number=1, time_ms=0, level=level, event=event, text=format_text(event, level, fields), fields=fields)


def block(height, duration_ms):
    """Return the line of a block."""
    return line("block", height=height, round=0, transactions=1, signed=5, replicas=7, duration_ms=duration_ms)


def test_the_same_block_is_one_thing_on_every_node():
    """Lines of one block differ between nodes in their duration only, and count as the same."""
    assert shared_part(block(4, 100)) == shared_part(block(4, 120)) != shared_part(block(5, 100))


def test_a_phase_is_shared_and_work_is_a_nodes_own():
    """All nodes tell a phase alike; what a node does itself is told by itself."""
    phase = line("round", task="digits", epoch=1, phase="score", text="3 models opened")
    work = line("round", task="digits", epoch=1, phase="work", text="claimed 0a51f727")
    assert shared_part(phase) is not None
    assert shared_part(work) is None


def test_work_is_shown_once():
    """What a node does for a task is shown as the event it is, not again as a line of its log."""
    event = TaskEvent(height=9, index=0, task=1, name="digits", epoch=0, phase="work", text="claimed 0a51f727")
    out = io.StringIO()
    screen = Screen(Console(file=out))
    screen.told(Told("bob", event))
    screen.told(
        Told("bob", line("round", level="debug", task="digits", epoch=1, phase="work", text="claimed 0a51f727"))
    )
    assert out.getvalue().count("round digits e1  work: claimed 0a51f727") == 1


def test_warnings_are_shown_and_other_events_are_not():
    """Beside rounds only what needs attention comes to the screen."""
    assert is_shown(line("duty failed", level="warning", reason="x"))
    assert not is_shown(line("started", pid=1))


def test_things_are_told_once_and_memory_is_bounded():
    """A thing is new once; only the oldest things are ever forgotten."""
    first = FirstOnly()
    assert first.is_new("a")
    assert not first.is_new("a")
    for number in range(MAX_REMEMBERED):
        assert first.is_new(number)
    assert first.is_new("a")
