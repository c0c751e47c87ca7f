"""The commands that go on: watch, top, attach; and completion, Ctrl-C, exit codes."""

import inspect
import io
import json
import os
import signal
import sys
from subprocess import PIPE

import pytest
import trio
from rich.console import Console

from flocknode.cli import app
from flocknode.cli.bars import Bars
from flocknode.cli.work_text import format_work
from flocknode.errors import Exit
from flocknode.rpc.history import MemoryHistory
from flocknode.rpc.records import BlockEvent, PeerEvent, RoundEvent, TaskEvent, WorkEvent

WAIT_S = 20


def block(height):
    """Return the event of a block."""
    numbers = {"round": 0, "time_ms": 1, "transactions": 4, "signed": 4, "replicas": 4, "duration_ms": 38}
    return BlockEvent(height=height, block="b" * 64, proposer="a" * 64, **numbers)


def phase(height, text):
    """Return the event of a task."""
    return TaskEvent(height=height, index=0, task=7, name="digits", epoch=2, phase="score", text=text)


def make_training(**changes):
    """Return a training that is half done."""
    half = {
        "kind": "training",
        "subject": "task 7 digits",
        "unit": "passes",
        "state": "running",
        "done": 10,
        "total": 20,
    }
    return WorkEvent(
        **{"work": 1, "elapsed_ms": 5_000, "rate_millionths": 2_000_000, "left_ms": 5_000, **half, **changes}
    )


async def start(node, *words, **options):
    """Start the command line on the node's home as a process."""
    command = [sys.executable, "-m", "flocknode", *words, "--home", str(node.home.path)]
    return await trio.lowlevel.open_process(command, stdout=options.pop("stdout", PIPE), stderr=PIPE, **options)


async def read_until(process, text):
    """Return what a process printed, up to a text."""
    received = b""
    with trio.fail_after(WAIT_S):
        while text.encode() not in received:
            received += await process.stdout.receive_some()
    return received.decode()


async def test_watching_blocks_from_a_height(node):
    """Past and present blocks are lines in the form of the log; Ctrl-C ends it without a word."""
    node.hub.histories["blocks"] = past = MemoryHistory(1)
    for height in (1, 2, 3):
        past.append(block(height))
    process = await start(node, "watch", "blocks", "--from-height", "2")
    out = await read_until(process, "block 3")
    assert out.split(" ", 1)[1].startswith("* block 2  r0  4 txs  4/4 signed  38 ms\n")
    process.send_signal(signal.SIGINT)
    with trio.fail_after(WAIT_S):
        assert await process.wait() == app.INTERRUPTED
    assert await process.stderr.receive_some() == b""


async def test_watching_tasks_shows_phases_and_work(node):
    """Phases and duties are lines; of long work, what runs already comes first, and its end is a line."""
    process = await start(node, "watch", "tasks", "--json")
    first = json.loads(await read_until(process, "\n"))
    assert (first["topic"], first["kind"], first["done"]) == ("work", "training", 10)
    node.hub.publish("tasks", phase(9, "3 models opened"))
    node.hub.publish("work", node.training(done=20, state="done", left_ms=0))
    found = [json.loads(line) for line in (await read_until(process, '"done","done"')).splitlines()]
    assert [(one["topic"], one.get("phase"), one.get("state")) for one in found] == [
        ("tasks", "score", None),
        ("work", None, "done"),
    ]
    node.stopped.set()
    with trio.fail_after(WAIT_S):
        assert await process.wait() == Exit.OK
    assert await process.stderr.receive_some() == b"the daemon has stopped\n"


@pytest.mark.parametrize(
    ("what", "event", "line"),
    [
        ("rounds", RoundEvent(height=9, round=1, step="prevote", cause=""), "height 9 r1  prevote"),
        ("peers", PeerEvent(peer="12D3", change="joined", peers=3), "12D3 joined  3 connected"),
        ("tasks", phase(9, "3 models opened"), "  round digits e3  score: 3 models opened"),
    ],
)
async def test_watched_events_are_lines(node, what, event, line):
    """Each kind of event reads well as a line."""
    process = await start(node, "watch", what)
    with trio.fail_after(WAIT_S):
        await node.subscribed.wait()
    node.hub.publish(what, event)
    out = await read_until(process, "\n")
    assert out[9:] == f"{line}\n"
    process.kill()
    await process.wait()


async def test_a_past_that_is_gone_is_said(node, flocknode):
    """A height before what is remembered ends with the first height that is there."""
    node.hub.histories["tasks"] = MemoryHistory(30)
    code, _, err = await flocknode("watch tasks --from-height 3")
    assert (code, "from height 30 on" in err) == (Exit.ERROR, True)


def test_bars_come_move_and_become_lines():
    """A bar has amount, rate and time left; work that ended leaves a line and no bar."""
    out = io.StringIO()
    with Bars(Console(file=out, force_terminal=True, width=160, highlight=False)) as bars:
        bars.show(make_training())
        bars.print("a line")
        bars._progress.refresh()
        assert "training task 7 digits" in out.getvalue()
        assert "50 %  10 passes of 20 passes  2.0 passes/s  5 s left" in out.getvalue()
        bars.show(make_training(state="done", done=20))
        assert bars._progress.tasks == []
    assert "done: 20 passes of 20 passes in 5 s, 2.0 passes/s" in out.getvalue()
    assert "a line" in out.getvalue()


async def test_top_on_a_terminal_follows_until_ctrl_c(node):
    """On a terminal the screen is drawn again and again; Ctrl-C is the way out, and no failure."""
    reader, writer = os.openpty()
    process = await start(node, "top", "--interval", "0.1", stdout=writer, env={**os.environ, "TERM": "xterm"})
    os.close(writer)
    stream = trio.lowlevel.FdStream(reader)
    received = b""
    with trio.fail_after(WAIT_S):
        while received.count(b"power online 50 %") < 3:
            received += await stream.receive_some()
        process.send_signal(signal.SIGINT)
        while True:
            try:
                if not await stream.receive_some():
                    break
            except trio.BrokenResourceError:
                break
        assert await process.wait() == Exit.OK
    assert await process.stderr.receive_some() == b""


async def test_attach_performs_lines(node):
    """Without a terminal each line is a call; errors are told and the last words are the exit code's."""
    lines = [
        "# a remark",
        "chain.block height=3",
        'chain.block {"height": 4}',
        "help chain.block",
        "no.such",
        "chain.block height=",
        "exit",
        "chain.head",
    ]
    process = await start(node, "--json", "attach", stdin=PIPE)
    await process.stdin.send_all("\n".join(lines).encode())
    await process.stdin.aclose()
    out = (await read_until(process, "height (optional)")).splitlines()
    assert [json.loads(line)["height"] for line in out[:2]] == [3, 4]
    assert out[2] == "chain.block: A block."
    with trio.fail_after(WAIT_S):
        assert await process.wait() == Exit.USAGE
    errors = [json.loads(line)["error"]["message"] for line in (await process.stderr.receive_some()).splitlines()]
    assert "there is no method 'no.such'" in errors[0]
    assert "$.height" in errors[1]


async def test_attach_on_a_terminal_prompts(node):
    """A terminal gets a prompt, results, and an exit code of its own."""
    reader, writer = os.openpty()
    process = await start(node, "attach", stdin=writer, env={**os.environ, "TERM": "dumb"})
    os.write(reader, b"no.such\nchain.head\nexit\n")
    out = await read_until(process, '"height": 42')
    assert "flocknode> " in out
    with trio.fail_after(WAIT_S):
        assert await process.wait() == Exit.OK
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_completion_is_a_script_of_the_shell(in_process, shell):
    """The script names commands and their options; bash, which is here, accepts its own."""
    code, out, _ = await in_process(f"completion {shell}")
    assert code == Exit.OK
    for word in ("leaderboard", "passphrase-file", "transfer"):
        assert word in out
    if shell == "bash":
        await trio.run_process(["bash", "-n"], stdin=out.encode(), check=True)


def test_exit_codes_are_documented():
    """`--help` names every code that a command can end with."""
    said = {int(part.strip().split(" ", 1)[0]) for part in app.EPILOGUE.split(":", 1)[1].split(",")}
    assert said == {int(code) for code in Exit}
    assert app.EPILOGUE in inspect.cleandoc(app.app.help_epilogue or "")


def test_an_interrupt_in_a_nursery_is_an_interrupt(monkeypatch, capsys):
    """Ctrl-C ends a command quietly with the code that shells expect, however deep it struck."""

    def strike(*_, **__):
        raise BaseExceptionGroup("a nursery", [BaseExceptionGroup("another", [KeyboardInterrupt()])])

    monkeypatch.setattr(type(app.app), "parse_args", strike)
    assert app.run(["status"]) == app.INTERRUPTED
    assert capsys.readouterr() == ("", "")


def test_rates_and_times_are_words():
    """Bytes in units that read well, other work in its own."""
    assert format_work(make_training()) == "training task 7 digits  10 passes of 20 passes  2.0 passes/s  5 s left"
    fetched = make_training(
        kind="fetching", subject="blob ab", unit="bytes", done=3 * 2**20, total=10 * 2**20, left_ms=None
    )
    assert format_work(fetched) == "fetching blob ab  3.0 MiB of 10.0 MiB  2 B/s  time left unknown"
    assert format_work(make_training(state="failed")) == "training task 7 digits  stopped at 10 passes of 20 passes"
