"""Work that nobody waits for any more is given up; its failures come as they are."""

import pytest
import trio

from flocknode.participants.patience import LOOK_S, run_while
from flocknode.worker import JobFailed


async def test_the_result_comes_through(autojump_clock):
    """Wanted to its end, an act gives what it came to."""

    async def act():
        await trio.sleep(3 * LOOK_S)
        return "done"

    assert await run_while(lambda: True, act) == "done"


async def test_an_act_that_nobody_wants_is_cancelled(autojump_clock):
    """Within one look after it stopped being wanted; there is no result then."""
    wanted, ended_at = [True, True, False], []

    async def act():
        try:
            await trio.sleep_forever()
        finally:
            ended_at.append(trio.current_time())

    began_at = trio.current_time()
    assert await run_while(lambda: wanted.pop(0), act) is None
    assert ended_at[0] - began_at == pytest.approx(2 * LOOK_S)


async def test_a_failure_is_not_wrapped(autojump_clock):
    """Who performs duties catches failures by their kind, so no group may hide them."""

    async def act():
        await trio.lowlevel.checkpoint()
        raise JobFailed("training diverged")

    with pytest.raises(JobFailed, match="diverged"):
        await run_while(lambda: True, act)
