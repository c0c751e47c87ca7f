"""The commands as processes against a node: what they print, where, and how they end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest
import structlog
import trio

from flocknode.cli.options import Options
from flocknode.errors import Exit, UsageError
from flocknode.rpc.arena_records import Training
from tests.dataset_files import write_dataset

SIGNAL_PROGRAM = """
import trio
from flocknode.cli.signals import run_until_signal

async def main():
    print("up", flush=True)
    try:
        await trio.sleep_forever()
    finally:
        print("down", flush=True)

trio.run(run_until_signal, main)
"""


async def test_status_ends_with_the_cause(flocknode):
    """`status` shows names and heights, and its last line is the sentence of cause."""
    code, out, err = await flocknode("status")
    assert (code, err) == (Exit.OK, "")
    assert "(alice)" in out
    assert "42  block b1b1b1b1…" in out
    assert out.endswith("\nwaiting  height 43 r2  power online 50 % (need > 66.7 %)  missing bob\n")


async def test_json_is_the_record(flocknode, node):
    """`--json` prints the record of the method as one line of JSON and nothing else."""
    code, out, err = await flocknode("--json account show bob")
    assert (code, err, out.count("\n")) == (Exit.OK, "", 1)
    assert json.loads(out)["address"] == node.bob
    assert json.loads(out)["balance_units"] == 1_500_000_001


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("peers", "…JWoaqZhD  127.0.0.1:4002  out      41   1.2 ms     7         8          3        2     75"),
        ("peers", "…xyzxyzxy  42 s  garbage"),
        ("account show", "balance            1.500000001 FML"),
        ("account list", "bob "),
        ("chain head", "state root     " + "5a" * 32),
        ("chain block 7", "bob          1  no"),
        ("chain headers", "42  " + "b1" * 32),
        ("supply", "burned     -0.1"),
        ("top", "training task 7 digits  10 passes of 20 passes  2.0 passes/s  5 s left"),
        ("tx wait " + "1d" * 32 + " --expiry 9", "included in block 43"),
        ("keys show", "in clear, so that the node votes by itself"),
        ("config show", "network.port       0"),
        ("completion bash", "complete -F"),
        ("chain params", "task.seats        [1, 2]"),
        ("chain supply", "burned     -0.1"),
        ("arena list", "7  digits  alice    running  2/2    score"),
        (
            "arena show digits",
            "bob     validator         50         25  0.100000, next 0.200000, later 0.000000  attested, drawn",
        ),
        ("arena submissions digits", "1  e2e2e2e2…  unclaimed  f0f0f0f0…   2000  yes     yes"),
        ("arena scores digits", "1  bob        e2e2e2e2…   invalid  overruled, slashed, copy of e1e1e1e1…"),
        ("arena leaderboard digits", "1  e1e1e1e1…  bob        75  0.941700  0.540541  123.456789"),
        ("account show bob", "7  digits  bob       2000000000        2.5               0          0.5"),
        ("arena training", "7  digits      2  running     40  160          20  e1e1e1e1…     2.302585  0.941700"),
        ("tx show " + "1d" * 32, "status   failed: too little (error 34)"),
        ("rpc chain.block height=3", '"height": 3'),
        ("version", "0.1.0"),
    ],
)
async def test_each_command_prints_its_result(in_process, command, expected):
    """Results are plain aligned text on stdout when it is no terminal, with names for accounts."""
    code, out, err = await in_process(command)
    assert (code, err) == (Exit.OK, "")
    assert expected in out, out


async def test_a_terminal_gets_a_drawn_table(flocknode):
    """On a terminal the same table is drawn with rules."""
    reader, writer = os.openpty()
    os.set_blocking(reader, False)
    try:
        code, _, _ = await flocknode(
            "arena", "list", stdout=writer, env={**os.environ, "COLUMNS": "120", "TERM": "xterm"}
        )
        out = os.read(reader, 65_536).decode()
    finally:
        os.close(reader)
        os.close(writer)
    assert code == Exit.OK
    assert "─" in out
    assert "digits" in out


async def test_a_transfer_names_the_receiver_and_waits(flocknode, node):
    """Names and decimal amounts become an address and units; the outcome is printed."""
    code, out, _ = await flocknode("tx transfer bob 12.5 --fee 0.001")
    assert code == Exit.OK
    assert out == f"included in block 43  {'1d' * 32}\n"
    node.outcome_status = "pending"
    code, out, _ = await flocknode(f"tx transfer {node.bob} 1 --no-wait")
    assert (code, out.split()[0]) == (Exit.OK, "pending,")
    assert node.calls == [(node.bob, 12_500_000_000, 10**6, True), (node.bob, 10**9, None, False)]


@pytest.mark.parametrize("status", ["failed", "expired"])
async def test_a_transaction_that_did_not_work_is_refused(flocknode, node, status):
    """A transaction that failed in its block or expired ends with the code for refused."""
    node.outcome_status = status
    code, out, _ = await flocknode("tx transfer bob 1")
    assert code == Exit.REFUSED
    assert out.startswith(status)


async def test_a_refusal_says_why_and_what_next(flocknode):
    """A refused transaction ends with code 4, its reason on stderr, as JSON if asked for."""
    code, out, err = await flocknode("tx transfer bob 2000")
    assert (code, out) == (Exit.REFUSED, "")
    assert err == "error: the balance does not cover it\n"
    _, _, err = await flocknode("tx transfer bob 2000 --json")
    error = json.loads(err)["error"]
    assert (error["kind"], error["data"]) == ("InsufficientFunds", {"have": 10**12, "need": 2 * 10**12})


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("no-such-command", "Unknown command"),
        ("tx transfer bob", "requires an argument"),
        ("status --bogus", "Unknown option"),
        ("tx transfer zoe 1", "Names: alice, bob."),
        ("tx transfer bob 1.0000000001", "not an amount of FML"),
        ("tx transfer bob nan", "not an amount of FML"),
        ("tx transfer bob -1", "'-1' is not an amount of FML that there can be"),
        ("tx transfer bob 1e10", "is not an amount of FML that there can be"),
        ("tx show abc", "'abc' is not the id of a transaction"),
        ("tx wait abc", "'abc' is not the id of a transaction"),
        ("tx submit zz", "the transaction is not hex"),
        ("account list --after zoe", "Names: alice, bob."),
        ("genesis make --out x --balance -5 --bond 1", "'-5' is not an amount of FML that there can be"),
        ("rpc node.status home=/x", "unknown field `home`"),
        ("rpc node.status method=x result=1", "unknown field"),
        ("rpc chain.head height", "not a parameter"),
        ("rpc chain.block height=x", "$.height"),
        ("arena join digits --role trainer --stake 1", "--data FILE"),
        ("arena scores digits --epoch 0", "epochs count from 1"),
        ("arena undelegate digits bob --shares 0", "at least one share"),
        ("arena reward-share digits 1.5", "is not a part, from 0 to 1"),
        ("data split iris --out x --part a=1", "neither a built-in dataset"),
        ("data split digits --out x --part A=x", "not a part"),
        ("data split digits --out x --part a=1 --part a=2", "two parts have the name 'a'"),
        ("status --home elsewhere", "takes one --home"),
    ],
)
async def test_usage_errors(in_process, command, words):
    """A command that makes no sense ends with code 2 and says on stderr what is wrong with it."""
    code, out, err = await in_process(command)
    assert (code, out) == (Exit.USAGE, "")
    assert words in err


async def test_without_a_daemon(flocknode, node):
    """A home whose daemon is not running ends with code 3 and the command that starts it."""
    code, out, _ = await flocknode("stop")
    assert (code, out) == (Exit.OK, "stopped (pid 4194303)\n")
    code, out, err = await flocknode("status")
    assert (code, out) == (Exit.NOT_RUNNING, "")
    assert f"flocknode node --home {node.home.path}" in err


async def test_joining_carries_files_and_settings(flocknode, node, tmp_path):
    """A trainer's data goes as an absolute path, its settings as a record; a validator has neither."""
    write_dataset(tmp_path / "bob.safetensors")
    code, out, err = await flocknode(
        "arena join digits --role trainer --stake 50.5 --data bob.safetensors --passes 3 --seed 9 --optimizer adam"
        " --warm-start",
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert (code, err, out) == (Exit.OK, "task 7\n", f"included in block 43  {'1d' * 32}\n")
    code, _, err = await flocknode("arena join digits --role validator --stake 10 --quiet")
    assert (code, err) == (Exit.OK, "")
    training = Training(passes=3, seed=9, optimizer="adam", warm_start=True)
    assert node.calls == [
        ("digits", "trainer", 50_500_000_000, str(tmp_path / "bob.safetensors"), training),
        ("digits", "validator", 10**10, None, None),
    ]


async def test_delegating_carries_operators_and_parts(flocknode, node):
    """Operators go by address, amounts in units, parts in millionths; without a number all shares leave."""
    for command in (
        "delegate digits bob 2.5",
        "undelegate 7 bob --shares 40",
        "undelegate 7 bob",
        "reward-share 7 0.2",
    ):
        code, out, err = await flocknode(f"arena {command}")
        assert (code, err, out) == (Exit.OK, "task 7\n", f"included in block 43  {'1d' * 32}\n")
    assert node.calls == [("digits", node.bob, 25 * 10**8), ("7", node.bob, 40), ("7", node.bob, None), ("7", 200_000)]


async def test_money_and_governance_carry_what_was_typed(flocknode, node):
    """A bounty in FML, a cancellation, a verification, a recognised account; then what the answer says."""
    for command in ("bounty digits 2.5", "cancel 7", "verify 7"):
        code, out, err = await flocknode(f"arena {command}")
        assert (code, err, out) == (Exit.OK, "task 7\n", f"included in block 43  {'1d' * 32}\n")
    code, out, _ = await flocknode("account recognise bob")
    assert (code, out) == (Exit.OK, f"included in block 43  {'1d' * 32}\n")
    assert node.calls == [("digits", 25 * 10**8), ("7", "cancel"), ("7", "verify"), (node.bob, "recognise")]


async def test_what_the_emission_does_is_shown(flocknode, node):
    """In the supply, the parameters, the task and its leaderboard, and with the account."""
    for command, text in (
        ("supply", "3 emissions so far"),
        ("supply", "brings 900 FML to verified tasks"),
        ("chain params", "governance           bob"),
        ("arena show digits", "verified: the emission pays it, too"),
        ("arena show digits", "900 FML"),
        ("arena leaderboard digits", "90 of it emitted"),
        ("account show", "recognised by governance"),
        ("account show", "was paid for work in a verified task or alliance"),
    ):
        code, out, _ = await flocknode(command)
        assert (code, text in out) == (Exit.OK, True), (command, out)


async def test_a_task_of_ones_own_settings_carries_them(flocknode, node, tmp_path):
    """Names and numbers of options, and a stake; what is no option is refused before anything is sent."""
    write_dataset(tmp_path / "a")
    data = ["--data-a", str(tmp_path / "a"), "--data-b", str(tmp_path / "a")]
    command = "arena create x --family linear --set inputs=1 --metric accuracy --escrow 1 --stake 0"
    code, _, _ = await flocknode(command, "--option", "aggregation=median", "--option", "rewarded_trainers=3", *data)
    assert code == Exit.OK
    assert node.calls[0] == (0, {"aggregation": "median", "rewarded_trainers": 3})
    code, _, err = await flocknode(command, "--option", "median", *data)
    assert (code, "not an option such as" in err) == (Exit.USAGE, True)


async def test_creating_carries_the_model(flocknode, node, tmp_path):
    """Settings, bounds and datasets arrive as typed; a file that does not exist is named before anything is sent."""
    for name in ("a", "b"):
        write_dataset(tmp_path / name)
    arguments = "arena create digits --family mlp --set layers=64,32,10 --metric r2 --low -0.5 --escrow 1000"
    data = ["--data-a", str(tmp_path / "a"), "--data-b", str(tmp_path / "b")]
    code, _, _ = await flocknode(arguments, *data)
    assert code == Exit.OK
    assert node.calls == [("digits", "mlp", {"layers": [64, 32, 10]}, "r2", 10**12, -500_000, data[1])]
    code, _, _ = await flocknode(arguments, *data, "--baseline", "0.3", "--no-measure-baseline")
    assert (code, node.calls[1]) == (Exit.OK, (300_000, False))
    code, _, err = await flocknode(arguments, "--data-a", str(tmp_path / "c"), *data[2:])
    assert (code, f"there is no file {tmp_path / 'c'}" in err) == (Exit.ERROR, True)


async def test_logs_follow_without_gap_or_repetition(flocknode, node):
    """`logs -f` shows the lines so far and then the new ones, each once, until the daemon stops."""
    log = structlog.get_logger()
    for index in range(3):
        log.info("before", index=index)
    command = [sys.executable, "-m", "flocknode", "logs", "-f", "--json", "--home", str(node.home.path)]
    process = await trio.lowlevel.open_process(command, stdout=PIPE, stderr=DEVNULL)
    received = b""
    while received.count(b"\n") < 3:
        received += await process.stdout.receive_some()
    for index in range(3):
        log.info("after", index=index)
    while received.count(b"\n") < 6:
        received += await process.stdout.receive_some()
    node.stopped.set()
    assert await process.wait() == Exit.OK
    lines = [json.loads(line) for line in received.splitlines()]
    assert [(line["event"], line["fields"]["index"]) for line in lines] == [
        (event, index) for event in ("before", "after") for index in range(3)
    ]


async def test_logs_of_a_stopped_daemon_come_from_its_file(flocknode, node):
    """When no daemon answers, the last lines of the log file are shown, and a note says so."""
    structlog.get_logger().info("block", height=1, round=0, transactions=0, signed=1, replicas=1, duration_ms=5)
    with node.home.log_file.open("a") as file:
        file.write('{"cut')
    node.stopped.set()
    await trio.testing.wait_all_tasks_blocked()
    code, out, err = await flocknode("logs -n 1")
    assert code == Exit.OK
    assert out[9:] == "* block 1  r0  0 txs  1/1 signed  5 ms\n"
    assert "not running" in err


async def test_a_reader_that_closes_early_is_no_error_message(flocknode, node):
    """`flocknode ... | head -0` ends quietly."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        _, _, err = await flocknode("rpc rpc.discover", stdout=writer)
    finally:
        os.close(writer)
    assert err == ""


def test_a_home_is_made_and_a_chain_founded(tmp_path):
    """`init` and `genesis make` lead from nothing to homes of one chain, and refuse to go over them again."""

    def flocknode(command, *more):
        words = [sys.executable, "-m", "flocknode", *command.split(), *more, "--json"]
        done = subprocess.run(words, capture_output=True, check=False, timeout=30)
        return done.returncode, json.loads(done.stdout or done.stderr)

    homes = [tmp_path / "alice", tmp_path / "bob"]
    for home in homes:
        code, made = flocknode("init --home", str(home), "--port", "4001", "--no-passphrase")
        assert (code, made["name"], made["chain"]) == (Exit.OK, home.name, None)
    both = [word for home in homes for word in ("--home", str(home))]
    file = str(tmp_path / "genesis.json")
    make = ("genesis make --balance 1000 --bond 500 --out", file, *both)
    code, founded = flocknode(*make)
    assert code == Exit.OK
    assert [flocknode("init --home", str(home), "--genesis", file)[1]["chain"] for home in homes] == [
        founded["chain"]
    ] * 2
    assert flocknode(*make)[0] == Exit.ERROR
    code, error = flocknode("init --home", str(homes[0]))
    assert (code, error["error"]["kind"]) == (Exit.ERROR, "HomeExists")
    assert flocknode("node --home", str(tmp_path / "none"))[1]["error"]["kind"] == "HomeMissing"


def test_the_home_comes_from_option_environment_or_default(monkeypatch):
    """`--home` wins over FLOCKNODE_HOME, which wins over ~/.flocknode; several are an error."""
    monkeypatch.setenv("HOME", "/h")
    monkeypatch.delenv("FLOCKNODE_HOME", raising=False)
    assert make_options().home.path == Path("/h/.flocknode")
    monkeypatch.setenv("FLOCKNODE_HOME", "/e:x")
    assert make_options().home.path == Path("/e:x")
    assert make_options("/o").home.path == Path("/o")
    with pytest.raises(UsageError):
        _ = make_options("/o", "/p").home


def make_options(*homes):
    """Return the options of a command line with these homes."""
    return Options(homes=tuple(map(Path, homes)), json=False, quiet=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_cleanly(number):
    """SIGTERM and SIGINT cancel what runs, which then cleans up, and the process ends with code 0."""
    process = subprocess.Popen([sys.executable, "-c", SIGNAL_PROGRAM], stdout=PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    process.send_signal(number)
    assert process.communicate(timeout=10)[0] == "down\n"
    assert process.returncode == 0


async def test_status_is_quick_and_loads_nothing_heavy(flocknode, node):
    """`status` imports neither trio nor libp2p nor torch nor a database, and answers well within a second."""
    program = (
        "import sys; from flocknode.cli.app import run; code = run(sys.argv[1:]);"
        "print(sorted({'trio', 'torch', 'libp2p', 'plyvel', 'rich', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, "status", "--home", str(node.home.path)]
    started = time.perf_counter()
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True)
    assert done.stderr == b"[]\n"
    # Three times what node.md allows, so that a busy machine does not fail the suite.
    assert time.perf_counter() - started < 0.9
