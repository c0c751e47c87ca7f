"""The command that shows the daemon's log."""

import sys
from collections import deque
from collections.abc import Iterable
from typing import Annotated

import msgspec
from cyclopts import Parameter

from flocknode.cli.options import Common, Options
from flocknode.cli.output import note
from flocknode.errors import NotRunning
from flocknode.home import Home
from flocknode.log_files import read_lines
from flocknode.logs import LEVELS, format_line, has_colours
from flocknode.rpc.call import call, convert_result
from flocknode.rpc.records import MAX_TAIL, Level, LogLine, LogTail


async def logs(
    *,
    follow: Annotated[bool, Parameter(name=("--follow", "-f"), negative="")] = False,
    lines: Annotated[int, Parameter(name=("--lines", "-n"))] = 100,
    level: Level = "info",
    options: Common,
) -> None:
    """Show the newest lines of the daemon's log; of a stopped daemon, those of its log file.

    Parameters
    ----------
    follow
        Keep showing new lines as they come.
    lines
        How many lines to begin with.
    level
        The least important lines to show.
    """
    if follow:
        await _follow(options, lines, level)
        return
    try:
        found: Iterable[LogLine] = call(options.home, "logs.tail", LogTail, lines=lines, level=level).lines
    except NotRunning:
        note(options, "the daemon is not running; these are the last lines it wrote")
        found = _read_file(options.home, lines, level)
    for line in found:
        _print(options, line)


async def _follow(options: Options, lines: int, level: Level) -> None:
    from flocknode.rpc.client import open_client

    async with open_client(options.home) as client:
        tail = await client.call("logs.tail", LogTail, lines=lines, level=level)
        for line in tail.lines:
            _print(options, line)
        events = await client.subscribe(["logs"], from_line=tail.next)
        async for notification in events:
            if notification.topic == "lagged":
                note(options, "this terminal was too slow for the log; start again")
                return
            line = convert_result(notification.event, LogLine)
            if LEVELS[line.level] >= LEVELS[level]:
                _print(options, line)
        note(options, "the daemon has stopped")


def _read_file(home: Home, lines: int, level: Level) -> list[LogLine]:
    chosen = (line for line in read_lines(home.log_file, 0) if LEVELS[line.level] >= LEVELS[level])
    return list(deque(chosen, maxlen=max(0, min(lines, MAX_TAIL))))


def _print(options: Options, line: LogLine) -> None:
    text = msgspec.json.encode(line).decode() if options.json else format_line(line, has_colour=has_colours(sys.stdout))
    print(text, flush=True)
