"""The command that shows what happens as it happens, with bars for long work."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import msgspec

from flocknode.cli.options import Common, Options
from flocknode.cli.output import note
from flocknode.cli.work_text import format_work
from flocknode.errors import ConnectionLost
from flocknode.logs import format_block, format_round, get_round_fields
from flocknode.rpc.call import convert_job_event, convert_result
from flocknode.rpc.client import RpcClient, open_client
from flocknode.rpc.records import (
    BlockEvent,
    Notification,
    PeerEvent,
    RoundEvent,
    Topic,
    WorkEvent,
    WorkList,
)

Watched = Literal["blocks", "rounds", "tasks", "peers"]
# Who watches tasks wants to see the work for them, too.
TOPICS: dict[Watched, tuple[Topic, ...]] = {
    "blocks": ("blocks",),
    "rounds": ("rounds",),
    "tasks": ("tasks", "work"),
    "peers": ("peers",),
}


async def watch(what: Watched, /, *, from_height: int | None = None, options: Common) -> None:
    """Show what happens, as it happens: a line for each event, a bar for each piece of long work.

    Parameters
    ----------
    what
        blocks: each commit; rounds: each step of the consensus; tasks: phases, duties and long work; peers: who
        comes and goes.
    from_height
        Begin with the events since this height.
    """
    async with open_client(options.home) as client:
        events = await client.subscribe(TOPICS[what], from_height=from_height)
        with _make_screen(options) as tell:
            await _tell_running(client, what, tell)
            async for notification in events:
                if notification.topic == "lagged":
                    raise ConnectionLost(
                        "this terminal was too slow, so the daemon cut it off",
                        help=f"Go on with `flocknode watch {what} --from-height` and the last height shown.",
                    )
                tell(notification)
    note(options, "the daemon has stopped")


async def _tell_running(client: RpcClient, what: Watched, tell: Callable[[Notification], None]) -> None:
    """Show the work that began before."""
    if what == "tasks":
        for work in (await client.call("node.work", WorkList)).works:
            tell(Notification(subscription=0, seq=0, topic="work", event=msgspec.to_builtins(work)))


@contextmanager
def _make_screen(options: Options) -> Iterator[Callable[[Notification], None]]:
    """Give the function that shows an event: as JSON, as lines, or with bars below the lines on a terminal."""
    if options.json:
        yield _print_json
    elif sys.stdout.isatty():
        from flocknode.cli.bars import Bars

        with Bars() as bars:
            yield lambda found: bars.take(found) if found.topic == "work" else bars.print(_format(found))
    else:
        yield _print_line


def _print_json(found: Notification) -> None:
    print(msgspec.json.encode({"topic": found.topic, **found.event}).decode(), flush=True)


def _print_line(found: Notification) -> None:
    if found.topic != "work" or found.event["state"] != "running":
        print(_format(found), flush=True)


def _format(found: Notification) -> str:
    """Return an event as a line."""
    match found.topic:
        case "blocks":
            return _at(convert_result(found.event, BlockEvent).time_ms, _format_block(found))
        case "rounds":
            step = convert_result(found.event, RoundEvent)
            return _now(f"height {step.height} r{step.round}  {step.step}  {step.cause}".rstrip())
        case "tasks":
            return _now(format_round(get_round_fields(convert_job_event(found.event))))
        case "peers":
            peer = convert_result(found.event, PeerEvent)
            return _now(f"{peer.peer} {peer.change}  {peer.peers} connected")
        case _:
            return _now(format_work(convert_result(found.event, WorkEvent)))


def _format_block(found: Notification) -> str:
    text = format_block(found.event)
    return text if found.event["duration_ms"] is not None else text.rpartition("  ")[0]


def _now(text: str) -> str:
    return _at(time.time_ns() // 10**6, text)


def _at(time_ms: int, text: str) -> str:
    return f"{time.strftime('%H:%M:%S', time.localtime(time_ms / 1000))} {text}"
