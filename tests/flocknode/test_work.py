"""Long work: how far, how fast, how long still; not told more often than eyes can follow; its end always told."""

import pytest
import trio

from flocknode.rpc.events import EventHub
from flocknode.work import Works


@pytest.fixture
async def works():
    """Work whose events are kept in `told`."""
    hub = EventHub()
    works = Works(hub)
    works.told = []
    hub.publish = lambda topic, event: works.told.append((topic, event))
    return works


async def test_rate_and_time_left_follow_from_what_was_done(works, mock_clock):
    """Half of the work in two seconds: the rate is its quarter a second, and two seconds are left."""
    with works.track("training", "task 1 digits", "passes") as advance:
        advance(0, 20)
        mock_clock.jump(2)
        advance(10, 20)
        (now,) = works.list()
        mock_clock.jump(1)
    assert works.list() == ()
    assert [topic for topic, _ in works.told] == ["work"] * 3
    first, half, last = (event for _, event in works.told)
    assert (first.left_ms, first.state) == (None, "running")
    assert (half.done, half.rate_millionths, half.left_ms) == (10, 5_000_000, 2_000)
    assert (now.kind, now.subject, now.unit, now.done) == ("training", "task 1 digits", "passes", 10)
    assert (last.state, last.elapsed_ms) == ("done", 3_000)


async def test_what_was_there_before_does_not_count_as_speed(works, mock_clock):
    """A transfer that resumes at 90 of 100 bytes and gains 5 in a second has 1 second left, not none."""
    with works.track("fetching", "blob ab", "bytes") as advance:
        advance(90, 100)
        mock_clock.jump(1)
        advance(95, 100)
    assert (works.told[1][1].rate_millionths, works.told[1][1].left_ms) == (5_000_000, 1_000)


async def test_a_flood_of_reports_is_thinned_but_for_the_last(works, mock_clock):
    """A thousand reports in no time are two events: the first, and the end with all that was done."""
    with works.track("fetching", "blob ab", "bytes") as advance:
        for done in range(1_001):
            advance(done, 1_000)
    assert [(event.state, event.done) for _, event in works.told] == [("running", 0), ("done", 1_000)]


async def test_work_that_breaks_off_says_so(works, mock_clock):
    """An error and a cancellation leave an event that says failed, and nothing under way."""
    with pytest.raises(ValueError, match="broken"), works.track("evaluating", "task 1", "models"):
        raise ValueError("broken")
    with trio.CancelScope() as scope, works.track("evaluating", "task 1", "models") as advance:
        advance(1, 3)
        scope.cancel()
        await trio.sleep_forever()
    assert [event.state for _, event in works.told] == ["failed", "running", "failed"]
    assert works.list() == ()
