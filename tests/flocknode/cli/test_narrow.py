"""Tables on a terminal of 80 columns: no line is longer, and no word, number or hash is broken in two."""

import re
from dataclasses import replace

import pytest
import trio
from _pytest.capture import CaptureIO

from flocknode.cli import log, output, top
from flocknode.cli.fitting import GAP, fit
from flocknode.cli.output import draw_table
from flocknode.cli.text import Table
from flocknode.errors import Exit
from flocknode.home import load_names
from flocknode.rpc.log_records import Finding
from tests.flocknode.cli.test_json import COMMANDS

WIDTH = 80
# Those of the commands that draw tables; `top` draws its own screen, others are tried with what they need.
WITH_TABLES = (
    *("account list", "account show", "alliance explain", "alliance list", "alliance rounds", "alliance show"),
    *("alliance training", "arena audit", "arena leaderboard", "arena list", "arena scores", "arena show"),
    *("arena submissions", "arena training", "chain block", "chain headers", "chain params", "chain supply"),
    *("config show", "doctor", "explain", "peers", "supply"),
)
# What makes some of them draw more.
DETAILS = {"alliance rounds": " --round 2", "alliance explain": " --account alice", "explain": "/1/alice"}
# Columns of whole numbers, which do not grow decimals.
COUNTS = {
    *("TASK", "NO", "EPOCH", "ROUND", "RANK", "NONCE", "TRAINERS", "VALIDATORS", "PARTICIPANTS", "STEPS", "OF", "AT"),
    *("HEIGHT", "TXS", "SENT", "RECEIVED", "DUPLICATE", "DROPPED", "SCORE", "BYTES", "TRAIN ROWS", "TEST ROWS"),
    *("PAID ROUNDS", "RESUMED AT", "FIRST LOSS", "LOSS", "SHARES", "LEAVING SHARES", "POWER", "VALUE", "SHARE"),
    *("VERDICTS", "CONFIRMED", "DIFFERENT", "ABSTAINED", "MERIT", "BEST", "IN FAVOUR", "AGAINST", "GAIN"),
}


@pytest.fixture
def terminal(monkeypatch):
    """Let the command line believe that it writes to a narrow terminal; return the tables that it draws."""
    drawn = []

    def note(table, width):
        drawn.append(table)
        return draw_table(table, width)

    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(CaptureIO, "isatty", lambda self: True)
    monkeypatch.setattr(output, "draw_table", note)
    return drawn


def spell(cell):
    """Return the words of a cell as they may be shown: whole, hashes by their first digits, numbers less exactly."""
    words = set(cell.split())
    words |= {f"{found[:8]}…" for found in re.findall(r"[0-9a-f]{16,}", cell)}
    return words | {re.sub(rf"(\.\d{{{places}}})\d+", r"\1", word) for word in words for places in (2, 4)}


def check_fit(table, width=WIDTH):
    """Assert that a table fits, that nothing in it is broken, and that what it lacks is one of the columns to spare."""
    fitted = fit(table, width)
    assert sum(fitted.widths) + GAP * (len(fitted.widths) - 1) <= width
    kept = [column.lstrip(">") for column in fitted.table.columns]
    headings = [column.lstrip(">") for column in table.columns]
    assert set(headings) - set(kept) <= set(table.spare)
    for whole, narrowed in zip(table.rows, fitted.table.rows, strict=True):
        for heading, cell in zip(kept, fitted.lines_of(narrowed), strict=True):
            assert set(cell.split()) <= spell(whole[headings.index(heading)]), (heading, cell)
    assert " ".join(fitted.lines_of(kept)).split() == " ".join(kept).split()


def burden(table):
    """Return a table with the longest names and amounts that are to be expected."""
    longer = {"alice": "clinic-north", "bob": "clinic-south", "hospitals": "heart-failures"}

    def change(column, cell):
        for name, more in longer.items():
            cell = cell.replace(name, more)
        is_amount = column.startswith(">") and re.fullmatch(r"\d+(\.\d+)?", cell) and column.strip(">") not in COUNTS
        return "1234.123456789" if is_amount else cell

    rows = [tuple(map(change, table.columns, row)) for row in table.rows]
    return replace(table, rows=rows)


@pytest.mark.parametrize("command", WITH_TABLES)
async def test_a_commands_tables_are_readable_at_80_columns(command, in_process, terminal):
    """Its lines are short enough, and so they would be with long names and amounts of nine decimals."""
    for more in ("", DETAILS.get(command, "")):
        code, out, _ = await in_process(f"{command} {COMMANDS[command]}{more}")
        assert code in (Exit.OK, Exit.ERROR if command in ("doctor", "arena audit") else Exit.OK)
        assert "─" in out
    assert terminal
    for table in terminal:
        check_fit(table)
        check_fit(burden(table))
    assert max(len(line) for line in out.splitlines() if "─" in line) <= WIDTH


async def test_every_command_that_draws_a_table_is_tried(in_process, terminal, values):
    """A command that is not named above draws none."""
    for command in COMMANDS.keys() - set(WITH_TABLES) - {"top", "stop", "keys import"}:
        await in_process(f"{command} {COMMANDS[command].format(**values)}")
        assert terminal == [], command


async def test_the_screen_of_a_node_fits(node):
    """`top` draws the same tables; its peers' whole names have room."""
    names = load_names(node.home)
    found = await trio.to_thread.run_sync(top.take_snapshot, node.home)
    tables = [part for part in top.render(found, names) if isinstance(part, Table)]
    assert len(tables) == 4
    for table in tables:
        check_fit(table)


def test_findings_of_a_verification_fit():
    """Words wrap, and hashes in them keep their first digits."""
    reason = f"the state root is {'5a' * 32}, the header of the block after it says {'5b' * 32}"
    check_fit(log.render_findings((Finding(part="state", place="block 12, state bucket 7", reason=reason),)))


def test_a_table_that_fits_is_left_alone():
    """With enough room there is neither a line break nor a note."""
    table = Table(("NAME", ">FML"), [("alice", "1.123456789"), ("ab" * 32, "2")], spare=("FML",))
    fitted = fit(table, 80)
    assert (fitted.table, fitted.note, list(fitted.widths)) == (table, "", [64, 11])


def test_what_is_taken_away_is_said():
    """First hashes, then decimals, then columns; each only if that is not enough."""
    table = Table(("NAME", ">FML", "MORE"), [("ab" * 32, "1.123456789", "word")], spare=("MORE", "NAME"))
    assert fit(table, 28).note == "hashes shortened"
    assert fit(table, 23).note == "hashes shortened, numbers cut to 4 decimals"
    assert fit(table, 21).note == "hashes shortened, numbers cut to 2 decimals"
    assert fit(table, 15).note == "hashes shortened, numbers cut to 2 decimals, left out: MORE"
    assert fit(table, 5).note == "hashes shortened, numbers cut to 2 decimals, left out: MORE, NAME"


def test_only_a_word_that_is_too_long_for_the_terminal_is_broken():
    """Such as a path: the column with the longest word gives way, the others stay whole."""
    table = Table(("PART", ">ROWS", "FILE"), [("train", "1000", "/a" * 50)])
    fitted = fit(table, 40)
    assert list(fitted.widths) == [5, 4, 27]
    assert fitted.lines_of(table.rows[0])[:2] == ["train", "1000"]
