"""This node's own transactions on their way to its peers: soon, together, never in messages that take long to check."""

import pytest
import trio

from flocknode.outgoing import FULL_BYTES, GATHER_S, Outgoing


@pytest.fixture
async def sent(nursery):
    """A running way out: what to put into it, and the messages that left with the time they did."""
    messages = []
    outgoing = Outgoing(lambda gathered: messages.append((trio.current_time(), gathered)))
    nursery.start_soon(outgoing.run)
    await trio.testing.wait_all_tasks_blocked()
    return outgoing, messages


async def test_a_lone_transaction_leaves_at_once(sent, autojump_clock):
    """Nobody waits for company that may not come."""
    outgoing, messages = sent
    began = trio.current_time()
    outgoing.put(b"one")
    await trio.testing.wait_all_tasks_blocked()
    assert messages == [(began, (b"one",))]


async def test_what_comes_together_leaves_together(sent, autojump_clock):
    """Transactions of one moment are one message, in their order; later ones gather until the next may leave."""
    outgoing, messages = sent
    began = trio.current_time()
    for data in (b"1", b"2", b"3"):
        outgoing.put(data)
    await trio.testing.wait_all_tasks_blocked()
    for data in (b"4", b"5"):
        await trio.sleep(GATHER_S / 4)
        outgoing.put(data)
    await trio.sleep(GATHER_S)
    assert messages == [(began, (b"1", b"2", b"3")), (began + GATHER_S, (b"4", b"5"))]


async def test_a_full_message_waits_for_nothing(sent, autojump_clock):
    """However many come at once, each leaves once, in its order, and no message grows beyond the last that fills it."""
    outgoing, messages = sent
    put = [bytes([number]) * (FULL_BYTES // 5) for number in range(23)]
    for data in put:
        outgoing.put(data)
    await trio.sleep(1)
    assert [data for _, gathered in messages for data in gathered] == put
    assert all(sum(map(len, gathered[:-1])) < FULL_BYTES for _, gathered in messages)
    assert len(messages) == 4
