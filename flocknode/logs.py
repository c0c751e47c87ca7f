"""The daemon's log: pretty lines on the terminal, JSON lines in a rotated file, the newest ones in memory for RPC.

Events that people watch rounds by have a form of their own; all others show their fields as they are:

    12:04:31 * block 42  r0  4 txs  4/4 signed  38 ms
    12:04:31   round digits e3  scored: 4 submissions, 3 validators  best 0.9417 (+0.0110)
    12:04:33   round cancer-net t3  accepted: 4 of 4 updates, 3 voters  best 0.9417 (+0.0110)
    12:04:41 o waiting  height 43 r2  power online 50 % (need > 66.7 %)  missing carol, dave
"""

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Literal, TextIO

import msgspec
import structlog

from flocknode.errors import HistoryGone
from flocknode.log_files import MAX_OLD_FILES, end_last_line, get_first_number, get_last_number, read_lines
from flocknode.rpc.history import PAGE_EVENTS, Page
from flocknode.rpc.records import MAX_TAIL, Event, JobEvent, Level, LogLine, TaskEvent

LEVELS: Mapping[Level, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
LEVEL_NAMES: Mapping[str, Level] = {"debug": "debug", "info": "info", "warning": "warning"}
MAX_FILE_BYTES = 16 * 1024 * 1024

Fields = Mapping[str, Any]
# What the console shows: lines for people, the JSON of the file, or warnings and errors alone.
ConsoleForm = Literal["text", "json", "faults"]
FAULT = LEVELS["warning"]


# --- the lines of rounds: what a caller gives as fields, and what a person reads --------------------------------------


def format_block(fields: Fields) -> str:
    """Return the line of a committed block: height, round, transactions, signed, replicas, duration_ms."""
    return (
        f"* block {fields['height']}  r{fields['round']}  {fields['transactions']} txs  "
        f"{fields['signed']}/{fields['replicas']} signed  {fields['duration_ms']} ms"
    )


def format_round(fields: Fields) -> str:
    """Return the line of a step of a task or an alliance, whose fields are those of `get_round_fields`."""
    where = f"{fields['task']} e{fields['epoch']}" if "task" in fields else f"{fields['alliance']} t{fields['round']}"
    return f"  round {where}  {fields['phase']}: {fields['text']}"


def get_round_fields(event: JobEvent) -> dict[str, Any]:
    """Return the fields of the line of an event: name, epoch or round from 1 on, phase, text."""
    where: dict[str, Any]
    if isinstance(event, TaskEvent):
        where = {"task": event.name, "epoch": event.epoch + 1}
    else:
        where = {"alliance": event.name, "round": event.round + 1}
    return {**where, "phase": event.phase, "text": event.text}


def format_waiting(fields: Fields) -> str:
    """Return the line of a node that waits: height, round, cause."""
    return f"o waiting  height {fields['height']} r{fields['round']}  {fields['cause']}"


ROUND_FORMATS: Mapping[str, Callable[[Fields], str]] = {
    "block": format_block,
    "round": format_round,
    "waiting": format_waiting,
}
MARKS: Mapping[Level, str] = {"debug": "-", "info": "-", "warning": "!", "error": "x"}
COLOURS: Mapping[str, str] = {
    "block": "\x1b[32m",
    "round": "\x1b[36m",
    "waiting": "\x1b[33m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "debug": "\x1b[2m",
}
RESET = "\x1b[0m"


def format_line(line: LogLine, *, has_colour: bool) -> str:
    """Return a log line as a terminal shows it: local time, text, and colour by kind."""
    clock = time.strftime("%H:%M:%S", time.localtime(line.time_ms / 1000))
    colour = COLOURS.get(line.event, COLOURS.get(line.level, "")) if has_colour else ""
    text = line.text
    if "traceback" in line.fields:
        text = f"{text}\n{line.fields['traceback']}"
    return f"{clock} {colour}{text}{RESET if colour else ''}"


def has_colours(stream: TextIO) -> bool:
    """Return whether a stream shows colours, and its reader wants them (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def format_text(event: str, level: Level, fields: Fields) -> str:
    """Return the text of a line without its time: the form of its event, or the event with its fields."""
    known = ROUND_FORMATS.get(event)
    if known is not None:
        return known(fields)
    shown = "  ".join(f"{key}={value}" for key, value in fields.items() if key != "traceback")
    return f"{MARKS[level]} {event}{'  ' if shown else ''}{shown}"


# --- where lines go --------------------------------------------------------------------------------------------------


class LogOutput:
    """Takes every line of the process: to the terminal, the file, the memory, and whoever listens.

    It is the past of the topic `logs`, too (`flocknode.rpc.history`): a line's position is its number.
    """

    def __init__(
        self,
        *,
        console: TextIO | None,
        file: Path | None,
        listener: Callable[[LogLine], None] | None,
        console_form: ConsoleForm = "text",
    ) -> None:
        self._console = console
        self._console_form = console_form
        self._has_colour = console is not None and has_colours(console)
        self._listener = listener
        self._lines: deque[LogLine] = deque(maxlen=MAX_TAIL)
        self._path = file
        self._file: RotatingFileHandler | None = None
        self._lock = threading.Lock()
        self._next_number = 1
        if file is not None:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            end_last_line(file)
            self._next_number += get_last_number(file)
            self._file = RotatingFileHandler(
                file, maxBytes=MAX_FILE_BYTES, backupCount=MAX_OLD_FILES, encoding="utf-8", delay=True
            )
            # The line is made here; the handler only writes and rotates.
            self._file.setFormatter(logging.Formatter("%(message)s"))

    def write(self, line: LogLine) -> None:
        """Take one line, and give it its number."""
        with self._lock:
            line = msgspec.structs.replace(line, number=self._next_number)
            self._next_number += 1
            self._lines.append(line)
            plain = msgspec.json.encode(line).decode()
            if self._console is not None and not (self._console_form == "faults" and LEVELS[line.level] < FAULT):
                text = plain if self._console_form == "json" else format_line(line, has_colour=self._has_colour)
                print(text, file=self._console, flush=True)
            if self._file is not None:
                self._file.handle(_raw_record(plain))
        if self._listener is not None:
            self._listener(line)

    def tail(self, lines: int, level: Level) -> list[LogLine]:
        """Return the newest lines that are at least as important as `level`, oldest first."""
        found = [line for line in self._lines if LEVELS[line.level] >= LEVELS[level]]
        return found[max(0, len(found) - lines) :]

    def next_position(self) -> int:
        """Return the number that the next line will have."""
        return self._next_number

    def find(self, start: int) -> int:
        """Return the number itself. Raises `HistoryGone` when the line was dropped with the oldest file."""
        first = get_first_number(self._path) if self._path is not None else None
        if first is None:
            first = self._lines[0].number if self._lines else self._next_number
        if start < first:
            raise HistoryGone(f"the oldest line of the log is number {first}", have=first, need=start)
        return start

    def pages(self, position: int) -> Generator[Page, None, None]:
        """Yield the lines from a number on: from memory if they are there, else from the files."""
        in_memory = list(self._lines)
        is_in_memory = self._path is None or (in_memory and in_memory[0].number <= position)
        lines = iter(in_memory) if is_in_memory or self._path is None else read_lines(self._path, position)
        page: list[tuple[int, Event]] = []
        for line in lines:
            if line.number >= position:
                page.append((line.number, line))
            if len(page) == PAGE_EVENTS:
                yield page
                page = []
        if page:
            yield page

    def position_of(self, event: Event) -> int | None:
        """Return the number of a line."""
        assert isinstance(event, LogLine), "the topic of the log"
        return event.number

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    # structlog calls the method that is named like the level.
    debug = info = warning = error = critical = write


def configure(
    *,
    level: Level,
    console: TextIO | None = None,
    file: Path | None = None,
    listener: Callable[[LogLine], None] | None = None,
    console_form: ConsoleForm = "text",
) -> LogOutput:
    """Send this process's log, and warnings of the libraries it uses, to the given places; return them as one output.

    `console` is where lines for people go (None: nowhere), `file` where JSON lines go; `listener` gets each line.
    """
    output = LogOutput(console=console, file=file, listener=listener, console_form=console_form)
    structlog.configure(
        processors=[_render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: output,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_LibraryHandler(logging.WARNING)]
    root.setLevel(logging.WARNING)
    return output


class _LibraryHandler(logging.Handler):
    """Passes what libraries log through the standard module on to our log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record of a library."""
        write = structlog.get_logger().error if record.levelno >= logging.ERROR else structlog.get_logger().warning
        write(record.getMessage(), library=record.name, exc_info=record.exc_info or None)


def _render(_logger: object, method: str, event_dict: Any) -> tuple[tuple[LogLine], dict[str, Any]]:
    """Turn structlog's dictionary into the line that the output takes (a structlog processor)."""
    event, exc_info = str(event_dict.pop("event")), event_dict.pop("exc_info", None)
    fields = {key: _plain(value) for key, value in event_dict.items()}
    if exc_info:
        fields["traceback"] = _format_traceback(exc_info)
    level = LEVEL_NAMES.get(method, "error")
    text = format_text(event, level, fields)
    now_ms = time.time_ns() // 10**6
    return (LogLine(number=0, time_ms=now_ms, level=level, event=event, text=text, fields=fields),), {}


def _plain(value: object) -> object:
    """Return a field as JSON can carry it: bytes as hex, records and the like as text."""
    if isinstance(value, bytes):
        return value.hex()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return str(value)


def _format_traceback(exc_info: Any) -> str:
    if isinstance(exc_info, BaseException):
        exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
    elif not isinstance(exc_info, tuple):
        exc_info = sys.exc_info()
    return logging.Formatter().formatException(exc_info)


def _raw_record(text: str) -> logging.LogRecord:
    return logging.LogRecord("flocknode", logging.INFO, "", 0, text, None, None)
