"""The log: the look of the lines of rounds, the JSON file with rotation, the memory, libraries and tracebacks."""

import io
import json
import logging
import re
import time

import pytest
import structlog

from flocknode import logs
from flocknode.errors import HistoryGone
from flocknode.log_files import MAX_OLD_FILES, read_lines
from flocknode.logs import LogOutput, configure, format_line, has_colours


@pytest.fixture
def console(monkeypatch):
    """A terminal's text; the process's logging is put back afterwards."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield io.StringIO()
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)
    monkeypatch.undo()
    time.tzset()


def shown(console: io.StringIO) -> list[str]:
    """Return the console's lines with the clock cut off, which must be there."""
    lines = console.getvalue().splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)
    return [line[9:] for line in lines]


def test_the_lines_of_rounds(console):
    """Committed blocks, task phases and waiting have the form that node.md shows."""
    configure(level="info", console=console)
    log = structlog.get_logger()
    log.info("block", height=42, round=0, transactions=4, signed=4, replicas=4, duration_ms=38)
    log.info("round", task="digits", epoch=3, phase="scored", text="4 submissions, 3 validators  best 0.9417 (+0.0110)")
    log.info("waiting", height=43, round=2, cause="power online 50 % (need > 66.7 %)  missing carol, dave")
    log.info("listening", address="/ip4/127.0.0.1/tcp/1")
    log.warning("peer refused", reason="another chain")
    log.debug("never shown")
    assert shown(console) == [
        "* block 42  r0  4 txs  4/4 signed  38 ms",
        "  round digits e3  scored: 4 submissions, 3 validators  best 0.9417 (+0.0110)",
        "o waiting  height 43 r2  power online 50 % (need > 66.7 %)  missing carol, dave",
        "- listening  address=/ip4/127.0.0.1/tcp/1",
        "! peer refused  reason=another chain",
    ]


def test_the_file_holds_json_lines(console, tmp_path):
    """Every line of the file is a JSON object with time, level, event, text and fields; bytes are hex."""
    output = configure(level="debug", file=tmp_path / "logs" / "flocknode.jsonl")
    structlog.get_logger().debug("signed", key=b"\x01\xff", heights=(1, 2), nested={"path": tmp_path})
    output.close()
    (line,) = [json.loads(text) for text in (tmp_path / "logs" / "flocknode.jsonl").read_text().splitlines()]
    assert (line["level"], line["event"]) == ("debug", "signed")
    assert line["fields"] == {"key": "01ff", "heights": [1, 2], "nested": {"path": str(tmp_path)}}
    assert abs(line["time_ms"] - time.time() * 1000) < 60_000


def test_the_file_is_rotated_and_bounded(console, tmp_path, monkeypatch):
    """Full files move on, and the oldest is dropped: the folder never grows beyond its bound."""
    monkeypatch.setattr(logs, "MAX_FILE_BYTES", 2_000)
    output = configure(level="info", file=tmp_path / "flocknode.jsonl")
    for number in range(200):
        structlog.get_logger().info("line", index=number)
    output.close()
    files = list(tmp_path.iterdir())
    assert len(files) == MAX_OLD_FILES + 1
    assert all(file.stat().st_size <= 2_000 for file in files)
    assert json.loads((tmp_path / "flocknode.jsonl").read_text().splitlines()[-1])["fields"] == {"index": 199}


def test_the_newest_lines_are_in_memory(console):
    """The tail gives the newest lines of a level or above, oldest first, numbered; a listener gets every line."""
    heard = []
    output = configure(level="debug", listener=heard.append)
    for index in range(5):
        structlog.get_logger().info("line", index=index)
        structlog.get_logger().debug("detail", index=index)
    assert [line.fields["index"] for line in output.tail(2, "info")] == [3, 4]
    assert [line.event for line in output.tail(3, "debug")] == ["detail", "line", "detail"]
    assert output.tail(0, "debug") == []
    assert [line.number for line in heard] == list(range(1, 11))


def test_an_exception_brings_its_traceback(console):
    """A logged exception shows its traceback below the line, and keeps it as a field."""
    output = configure(level="info", console=console)
    try:
        raise ValueError("the reason")
    except ValueError:
        structlog.get_logger().exception("failed", height=3)
    assert "ValueError: the reason" in console.getvalue()
    (line,) = output.tail(1, "error")
    assert line.text == "x failed  height=3"
    assert "ValueError: the reason" in line.fields["traceback"]


def test_warnings_of_libraries_join_the_log(console):
    """What a library logs at warning or above appears as a line that names the library; less is dropped."""
    output = configure(level="info")
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").error("broken %s", "pipe")
    (line,) = output.tail(10, "debug")
    assert (line.level, line.event, line.fields["library"]) == ("error", "broken pipe", "some.library")


def test_colour_is_for_terminals(console):
    """The same line is plain text without a terminal and coloured by kind on one."""
    output = configure(level="info")
    structlog.get_logger().info("block", height=1, round=0, transactions=0, signed=1, replicas=1, duration_ms=1)
    (line,) = output.tail(1, "info")
    assert "\x1b" not in format_line(line, has_colour=False)
    assert "\x1b[32m* block 1" in format_line(line, has_colour=True)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_who_wants_no_colour_gets_none(monkeypatch, environment, expected):
    """A terminal shows colours unless its user or its kind says otherwise; anything else never does."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    assert not has_colours(stream)
    stream.isatty = lambda: True
    assert has_colours(stream) is expected


@pytest.mark.parametrize(("form", "expected"), [("json", ["info", "warning"]), ("faults", ["warning"])])
def test_the_console_shows_what_was_asked_for(monkeypatch, tmp_path, form, expected):
    """As JSON it has the lines of the file; when quiet, what is wrong alone. The file has everything all the same."""
    out, file = io.StringIO(), tmp_path / "log"
    output = configure(level="info", console=out, file=file, console_form=form)
    structlog.get_logger().info("good", number=1)
    structlog.get_logger().warning("bad")
    output.close()
    structlog.reset_defaults()
    lines = file.read_text().splitlines()
    assert [json.loads(line)["level"] for line in lines] == ["info", "warning"]
    if form == "json":
        assert out.getvalue().splitlines() == lines
    else:
        assert [line.split()[1:] for line in out.getvalue().splitlines()] == [["!", "bad"]]


def test_memory_is_bounded(console):
    """The memory keeps the newest lines up to its limit, whatever was asked for."""
    output = LogOutput(console=None, file=None, listener=None)
    structlog.configure(processors=[logs._render], logger_factory=lambda *_: output)
    for index in range(logs.MAX_TAIL + 10):
        structlog.get_logger().info("line", index=index)
    lines = output.tail(10**6, "info")
    assert (len(lines), lines[0].fields["index"]) == (logs.MAX_TAIL, 10)


def read(output, start):
    """Return the numbers of the lines of the past from a number on."""
    return [position for page in output.pages(output.find(start)) for position, _ in page]


def test_numbers_go_on_after_a_restart(console, tmp_path):
    """A line has a number of its own for as long as the files last, whatever a crash left at their end."""
    path = tmp_path / "flocknode.jsonl"
    for run in range(3):
        output = configure(level="info", file=path)
        for _ in range(2):
            structlog.get_logger().info("line", run=run)
        output.close()
        with path.open("a") as file:
            file.write('{"cut')
    assert [line.number for line in read_lines(path, 0)] == [1, 2, 3, 4, 5, 6]
    assert [line.number for line in read_lines(path, 4)] == [4, 5, 6]


def test_the_past_is_read_from_memory_and_files_alike(console, tmp_path, monkeypatch):
    """Lines that memory has forgotten come from the files, in order and once; those that no file has are gone."""
    monkeypatch.setattr(logs, "MAX_FILE_BYTES", 6_000)
    monkeypatch.setattr(logs, "MAX_TAIL", 10)
    output = configure(level="info", file=tmp_path / "flocknode.jsonl")
    for index in range(300):
        structlog.get_logger().info("line", index=index)
    with pytest.raises(HistoryGone) as caught:
        output.find(1)
    first = caught.value.data["have"]
    assert 1 < first < 250
    for start in (first, 200, 295, 300):
        assert read(output, start) == list(range(start, 301))
    assert read(output, 301) == []
    output.close()
