"""What somebody meets who tries the program for the first time: help, mistakes, and what the machine refuses."""

import json
import re
import subprocess
import sys
from subprocess import PIPE

import pytest

from flocknode.cli import app, progress, tools
from flocknode.cli.options import Options
from flocknode.errors import Exit
from flocknode.rpc.records import WorkEvent
from tests.dataset_files import write_dataset


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no safetensors file"),
        (b"version = 1\n" * 100, "no safetensors file"),
        (b"\x02" + bytes(7) + b"{}", "does not hold the tensors features and targets"),
    ],
)
async def test_what_is_no_dataset_is_told_before_it_costs_anything(in_process, node, tmp_path, content, reason):
    """A settings file, an empty one, a model: refused with the command that makes datasets, and nothing is sent."""
    wrong, right = tmp_path / "wrong", write_dataset(tmp_path / "right")
    wrong.write_bytes(content)
    create = "arena create digits --family linear --set inputs=1 --metric accuracy --escrow 1"
    for command in (
        f"{create} --data-a {right} --data-b {wrong}",
        f"{create} --data-a {wrong} --data-b {right}",
        f"arena join digits --role trainer --stake 1 --data {wrong}",
    ):
        code, out, err = await in_process(command)
        assert (code, out) == (Exit.ERROR, "")
        assert f"{wrong} is no dataset: it " in err
        assert reason in err
        assert "flocknode data split" in err
    assert node.calls == []


async def test_creating_shows_what_takes_long(in_process, tmp_path, monkeypatch):
    """On a terminal there are bars of what the daemon works on until it answers; otherwise there is not a word."""
    data = write_dataset(tmp_path / "a")
    command = (
        f"arena create d --family linear --set inputs=1 --metric accuracy --escrow 1 --data-a {data} --data-b {data}"
    )
    _, out, err = await in_process(command)
    assert (out.startswith("included in block 43"), "sealing" in err) == (True, False)
    monkeypatch.setattr(progress, "has_bars", lambda options: True)
    code, out, err = await in_process(command)
    assert (code, out.startswith("included in block 43"), "sealing a  done" in err) == (Exit.OK, True, True)


@pytest.mark.parametrize(("flag", "expected"), [("", True), ("json", False), ("quiet", False)])
def test_bars_are_for_people_who_watch(monkeypatch, flag, expected):
    """No bar spoils what a program reads, or what somebody wants quiet."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert progress.has_bars(Options(homes=(), json=flag == "json", quiet=flag == "quiet")) is expected
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    assert not progress.has_bars(Options(homes=(), json=False, quiet=False))


def test_splitting_shows_how_far_it_is(monkeypatch, tmp_path, capsys):
    """The cut of a dataset reports its parts to the bar, from none to all; a part is cut again like a dataset."""
    told: list[WorkEvent] = []

    class Bars:
        def __enter__(self):
            return told.append

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(tools, "show_bars", lambda options: Bars())
    words = ["data", "split", "diabetes", "--out", str(tmp_path / "d"), "--part", "a=2", "--part", "b=1", "--json"]
    assert app.run(words) == Exit.OK
    assert [file["rows"] for file in json.loads(capsys.readouterr().out)["files"]] == [294, 148]
    assert [(work.kind, work.done, work.total) for work in (told[0], told[-1])] == [
        ("splitting", 0, 2),
        ("splitting", 2, 2),
    ]
    again = [
        "data",
        "split",
        str(tmp_path / "d/b.safetensors"),
        "--out",
        str(tmp_path),
        "--part",
        "c=1",
        "--part",
        "d=1",
    ]
    assert app.run([*again, "--json"]) == Exit.OK
    assert [file["rows"] for file in json.loads(capsys.readouterr().out)["files"]] == [74, 74]


def test_what_the_machine_refuses_is_said_in_words(capsys):
    """A folder that cannot be made and a disk without room are no tracebacks."""
    assert app.run(["init", "--home", "/proc/none", "--no-passphrase"]) == Exit.ERROR
    assert capsys.readouterr().err.startswith("error: /proc/none: No such file or directory\n")
    words = [sys.executable, "-m", "flocknode", "completion", "bash"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(words, stdout=full, stderr=PIPE, text=True, check=False, timeout=30)
    said = "error: the output cannot be written: no space is left where it goes\n"
    assert (done.returncode, done.stderr) == (Exit.ERROR, said)


def test_a_node_without_a_chain_says_how_to_get_one(tmp_path, capsys):
    """Who starts what was only initialised is told what is missing, and no log begins."""
    app.run(["init", "--home", str(tmp_path / "a"), "--no-passphrase"])
    capsys.readouterr()
    assert app.run(["node", "--home", str(tmp_path / "a")]) == Exit.ERROR
    err = capsys.readouterr().err
    assert err.startswith("error: the genesis document ")
    assert "flocknode init --genesis FILE" in err
    assert not (tmp_path / "a/logs/flocknode.jsonl").exists()


async def test_a_setting_that_is_not_allowed_leaves_the_file(in_process, node):
    """The error names the setting and what was wrong with the value, not a file with a fault that it does not have."""
    before = node.home.config_file.read_text()
    code, _, err = await in_process("config set network.port 70000")
    assert code == Exit.ERROR
    assert err.startswith("error: network.port = 70000: Expected `int` <= 65535")
    assert f"{node.home.config_file} is as it was" in err
    assert node.home.config_file.read_text() == before


@pytest.mark.parametrize("arguments", [[], ["--help"], ["node", "--help"], ["arena", "--help"]])
def test_help_has_words_for_every_command(arguments):
    """The list of commands has a line for each, and a command's own page has all that its author wrote."""
    words = [sys.executable, "-m", "flocknode", *arguments]
    shown = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout
    if "node" in arguments:
        assert "SIGTERM" in shown
        assert "signs nothing" not in shown
        assert "the account stays locked" in " ".join(shown.split())
        return
    entries = dict(re.findall(r"^│ ([a-z]+) +(.*?) *│$", shown, re.MULTILINE))
    expected = {name for _, name, *_ in app.COMMANDS} if "arena" not in arguments else {"create", "join", "leave"}
    assert expected <= entries.keys()
    assert all(entries.values())
