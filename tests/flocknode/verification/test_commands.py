"""`log verify` and `db repair` as people type them, on a stopped node."""

import io
import json
import sys

import pytest

from flocknode.cli import app
from flocknode.errors import Exit
from protocol.crypto import integer_bytes
from storage.lock import HomeLock
from storage.log import BLOCK_PREFIX


@pytest.fixture
def command(home, capsys):
    """Return the function that runs a command on the home and returns (exit code, stdout, stderr)."""
    home.config_file.write_text("version = 1\n")

    def run(*words):
        code = app.run(["--home", str(home.path), *words])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def break_block(home, edit):
    """Return the function that ruins a block of the home."""

    def ruin(height):
        with edit(home) as database:
            database.write({BLOCK_PREFIX + integer_bytes(height): b"\x90"})

    return ruin


def test_a_sound_log_is_told_in_a_line(command, ledger):
    """Text says what was checked and how fast; JSON is the record."""
    code, out, err = command("log", "verify")
    assert (code, err) == (Exit.OK, "")
    assert out.startswith(f"sound: {len(ledger.blocks)} of {len(ledger.blocks)} blocks, ")
    assert out.endswith(" blocks/s\n")
    code, out, _ = command("--json", "log", "verify")
    found = json.loads(out)
    assert (code, found["state"], found["height"]) == (Exit.OK, "sound", len(ledger.blocks))


def test_a_broken_log_is_told_with_its_place_and_a_way_out(command, break_block):
    """Exit code 1, where and what, and the command that repairs."""
    break_block(3)
    code, out, err = command("log", "verify")
    assert code == Exit.ERROR
    assert out.startswith("broken: checked 2 of ")
    assert "data/chain, block 3  not a valid record" in out
    assert "flocknode db repair" in err
    code, out, err = command("--json", "--quiet", "log", "verify")
    assert (code, err) == (Exit.ERROR, "")
    assert [(one["part"], one["height"]) for one in json.loads(out)["findings"]] == [("block", 3)]


def test_repair_says_what_it_did(command, break_block, home):
    """What was broken, where it lies now, what was kept, what it means for the replica; afterwards all is well."""
    break_block(3)
    code, out, err = command("db", "repair")
    assert code == Exit.OK
    assert "block 3  not a valid record" in out
    assert f"moved  {home.journal}, {home.database}\n" in out
    assert f"to     {home.data}/damaged-" in out
    assert "kept   2 verified blocks, 1 notes\n" in out
    assert "nothing until a block made from now on has committed" in out
    assert f"flocknode node --home {home.path}" in err
    assert command("log", "verify")[0] == Exit.OK
    code, out, err = command("db", "repair")
    assert (code, err) == (Exit.OK, "")
    assert out.startswith("nothing to repair")


@pytest.mark.parametrize("words", ["log verify", "db repair"])
def test_a_home_in_use_is_left_alone(command, home, words):
    """Whoever holds the home is named; nothing is read or moved."""
    with HomeLock(home.path):
        code, out, err = command(*words.split())
    assert (code, out) == (Exit.ERROR, "")
    assert "is in use by process" in err


@pytest.mark.parametrize("words", ["log verify", "db repair"])
def test_a_folder_without_a_node_is_said(tmp_path, capsys, words):
    """No home, no lock file, no database: the error says how to make one."""
    assert app.run(["--home", str(tmp_path / "none"), *words.split()]) == Exit.ERROR
    assert "flocknode init" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_terminal_shows_a_bar_with_rate_and_time_left(command, monkeypatch):
    """On a terminal, stderr carries a bar; the result goes to stdout all the same."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    code, out, _ = command("log", "verify")
    assert (code, out[:6]) == (Exit.OK, "sound:")
    shown = terminal.getvalue()
    assert "verifying the log" in shown
    assert "blocks/s" in shown
    assert " left" in shown


def test_without_a_terminal_a_line_now_and_then(command, monkeypatch):
    """A log file of a long verification gets lines with the time left, not a bar."""
    monkeypatch.setattr("flocknode.cli.log.NOTE_SECONDS", 0)
    _, _, err = command("log", "verify")
    assert "verifying the log: 1 of " in err
    assert " left\n" in err
