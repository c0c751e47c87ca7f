"""Every command speaks JSON: one test for each leaf of the tree, and none may be missing here."""

import json

import pytest
import trio

from flocknode.cli import app
from flocknode.errors import Exit

# The arguments of each command. What changes the home or ends the node works on a copy or comes last in its test.
COMMANDS = {
    "account list": "",
    "account recognise": "bob",
    "account show": "bob",
    "alliance cancel": "hospitals",
    "alliance create": "x --family linear --set inputs=1 --metric accuracy --escrow 1",
    "alliance explain": "hospitals",
    "alliance fund": "hospitals 5",
    "alliance join": "hospitals --data {file}",
    "alliance leave": "hospitals",
    "alliance list": "",
    "alliance rounds": "hospitals",
    "alliance show": "hospitals",
    "alliance top-up": "hospitals 5",
    "alliance training": "",
    "alliance verify": "hospitals",
    "arena audit": "digits",
    "arena bounty": "digits 5",
    "arena cancel": "digits",
    "arena create": "x --family linear --set inputs=1 --metric accuracy --data-a {file} --data-b {file} --escrow 1",
    "arena delegate": "digits bob 5",
    "arena join": "digits --role validator --stake 1",
    "arena leaderboard": "digits",
    "arena leave": "digits",
    "arena list": "",
    "arena complain": "digits",
    "arena publish-key": "digits a",
    "arena prove-piece": "digits a 3",
    "arena prove-verdict": f"digits {'e1' * 32} --epoch 1",
    "arena reward-share": "digits 0.2",
    "arena scores": "digits",
    "arena show": "digits",
    "arena submissions": "digits",
    "arena submit": "digits {file}",
    "arena training": "",
    "arena undelegate": "digits bob",
    "arena verify": "digits",
    "chain block": "",
    "chain head": "",
    "chain headers": "",
    "chain params": "",
    "chain supply": "",
    "completion": "bash",
    "config check": "",
    "config set": "log.level debug",
    "config show": "",
    "doctor": "",
    "explain": "digits",
    "keys export": "{folder}/copy.key --new-passphrase-file {passphrase}",
    "keys import": "{folder}/copy.key --passphrase-file {passphrase} --no-passphrase",
    "keys lock": "",
    "keys passphrase": "--no-passphrase",
    "keys show": "",
    "logs": "",
    "peers": "",
    "rpc": "chain.head",
    "status": "",
    "stop": "",
    "supply": "",
    "top": "",
    "tx show": "1d" * 32,
    "tx submit": "00",
    "tx transfer": "bob 1",
    "tx wait": "1d" * 32,
    "version": "",
}
# Tested with what they need: a new home, several homes, the worker, a terminal's input, a running or a damaged node.
ELSEWHERE = {
    "alliance proof",
    "alliance verify-proof",
    "attach",
    "data split",
    "db repair",
    "genesis make",
    "init",
    "keys unlock",
    "log verify",
    "node",
    "watch",
}


def find_leaves(found, words=()):
    """Yield the words of every command."""
    names = [name for name in found if not name.startswith("-")]
    if not names:
        yield " ".join(words)
    for name in names:
        yield from find_leaves(found[name], (*words, name))


def test_no_command_is_missing():
    """A new command is either tried here or named as tested elsewhere."""
    assert set(find_leaves(app.app)) == COMMANDS.keys() | ELSEWHERE
    assert not COMMANDS.keys() & ELSEWHERE


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_command_prints_one_json_value(command, in_process, values, node, tmp_path):
    """`--json` gives data that programs can read on stdout, and nothing else there."""
    if command == "keys import":
        await in_process(f"keys export {tmp_path}/copy.key --new-passphrase-file {values['passphrase']}", home="bob")
    code, out, _ = await in_process(f"{command} {COMMANDS[command].format(**values)} --json")
    assert code in (Exit.OK, Exit.ERROR if command in ("doctor", "arena audit") else Exit.OK)
    assert out.count("\n") == (len(out.splitlines()) if command == "logs" else 1)
    assert all(isinstance(json.loads(line), dict) for line in out.splitlines())
    await trio.lowlevel.checkpoint()
