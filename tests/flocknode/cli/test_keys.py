"""The commands about keys and settings: files instead of prompts, what is told, what is never told."""

import json
import os
import sys
from subprocess import PIPE

import pytest
import trio

from flocknode.errors import Exit
from flocknode.keystore import load_account_seed, load_address

FIRST, SECOND = "a first long passphrase", "a second long passphrase"


@pytest.fixture
def files(tmp_path, quick_keys):
    """Two passphrase files."""
    made = []
    for name, text in (("first", FIRST), ("second", SECOND)):
        path = tmp_path / name
        path.touch(mode=0o600)
        path.write_text(text + "\r\nremark\n")
        made.append(path)
    return made


async def test_a_passphrase_comes_changes_and_goes(in_process, node, files):
    """The key is put under a passphrase and back in clear; the seed stays, and nothing shows it."""
    first, second = files
    seed = load_account_seed(node.home, None)
    said = ""
    for command, state in (
        (f"--new-passphrase-file {first}", "under a passphrase"),
        (f"--passphrase-file {first} --new-passphrase-file {second}", "under a passphrase"),
        (f"--passphrase-file {second} --no-passphrase", "in clear: whoever reads the file owns the account"),
    ):
        code, out, err = await in_process(f"keys passphrase {command}")
        assert (code, err) == (Exit.OK, "")
        assert state in out
        said += out
        code, out, _ = await in_process("keys show")
        said += out
        assert load_address(node.home).hex() in out
    assert load_account_seed(node.home, None) == seed
    assert seed.hex() not in said


async def test_a_wrong_passphrase_is_code_5(in_process, node, files):
    """A wrong, a missing and an unreadable passphrase each end with their words, before a new one is asked for."""
    first, second = files
    await in_process(f"keys passphrase --new-passphrase-file {first}")
    code, out, err = await in_process(f"keys passphrase --passphrase-file {second}")
    assert (code, out, "does not open" in err) == (Exit.LOCKED, "", True)
    code, _, err = await in_process("keys export copy")
    assert (code, "--passphrase-file FILE" in err) == (Exit.LOCKED, True)
    code, _, err = await in_process("keys unlock --passphrase-file /nowhere")
    assert (code, "/nowhere cannot be read" in err) == (Exit.ERROR, True)
    first.chmod(0o640)
    code, _, err = await in_process(f"keys passphrase --passphrase-file {first}")
    assert (code, f"chmod 600 {first}" in err) == (Exit.ERROR, True)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("keys passphrase", "--new-passphrase-file FILE, or leave the key in clear with --no-passphrase"),
        ("keys passphrase --no-passphrase --new-passphrase-file x", "exclude each other"),
        ("keys unlock", "nothing is locked"),
        ("keys import /nowhere --no-passphrase", "there is no file /nowhere"),
        ("config set network.prot 1", "Settings: version, name, network.port"),
    ],
)
async def test_usage(in_process, quick_keys, command, words):
    """What is missing or contradicts itself is said, with the way out."""
    code, out, err = await in_process(command)
    assert (code, out) == (Exit.USAGE, "")
    assert words in err


async def test_a_short_passphrase_is_refused(in_process, node, files):
    """Seven characters are none."""
    files[0].write_text("1234567\n")
    code, _, err = await in_process(f"keys passphrase --new-passphrase-file {files[0]}")
    assert (code, "8 to 1024 characters, not 7" in err) == (Exit.USAGE, True)
    assert load_account_seed(node.home, None)


async def test_unlocking_hands_the_passphrase_to_the_daemon(in_process, node, files):
    """`keys unlock` sends what the file says, and says whose account is open."""
    await in_process(f"keys passphrase --new-passphrase-file {files[0]}")
    code, out, _ = await in_process(f"keys unlock --passphrase-file {files[0]}")
    assert (code, out) == (Exit.OK, f"unlocked {node.alice} until the daemon stops or `flocknode keys lock`\n")
    assert node.calls == [FIRST]


async def test_a_backup_is_brought_back(in_process, node, files, tmp_path):
    """An export of one home becomes the account of another; never while a daemon uses that home."""
    copy = tmp_path / "copy.key"
    code, _, _ = await in_process(f"keys export {copy} --new-passphrase-file {files[1]}", home="bob")
    assert code == Exit.OK
    bob = load_address(type(node.home)(tmp_path / "bob"))
    code, out, err = await in_process(f"keys import {copy} --passphrase-file {files[1]} --no-passphrase")
    assert (code, bob.hex() in out) == (Exit.OK, True)
    assert "consensus and peer keys of this home stay" in err
    assert load_address(node.home) == bob


async def test_prompts_are_for_terminals(node):
    """On a terminal the passphrase is asked for twice, not shown, and two that differ are refused."""
    reader, writer = os.openpty()
    words = [sys.executable, "-m", "flocknode", "keys", "passphrase", "--home", str(node.home.path)]
    process = await trio.lowlevel.open_process(words, stdin=writer, stderr=PIPE, start_new_session=True)
    os.close(writer)
    said = b""
    with trio.fail_after(20):
        for prompt, typed in ((b"account key: ", b"one long passphrase\n"), (b"Again: ", b"another passphrase\n")):
            while prompt not in said:
                said += await process.stderr.receive_some()
            os.write(reader, typed)
        while chunk := await process.stderr.receive_some():
            said += chunk
        assert await process.wait() == Exit.USAGE
    os.close(reader)
    assert b"the two passphrases differ" in said
    assert b"one long" not in said


async def test_a_setting_is_shown_checked_and_changed(in_process, node):
    """The three commands about settings agree with each other, and a typo is found."""
    code, out, err = await in_process("config set network.port 4009")
    assert (code, out) == (Exit.OK, f"network.port = 4009 in {node.home.config_file}\n")
    assert "next start" in err
    code, out, _ = await in_process("config show --json")
    assert json.loads(out)["settings"]["network.port"] == 4009
    assert (await in_process("config check"))[0] == Exit.OK
    node.home.config_file.write_text(node.home.config_file.read_text().replace("port =", "prot ="))
    code, _, err = await in_process("config check")
    assert (code, "`prot` - at `$.network`" in err) == (Exit.ERROR, True)


async def test_init_asks_or_is_told(in_process, tmp_path, quick_keys):
    """A new home needs a passphrase or the word that it has none; an address is all that both share."""
    code, _, err = await in_process("init", home="carol")
    assert (code, "--passphrase-file FILE, or leave the key in clear with --no-passphrase" in err) == (Exit.USAGE, True)
    assert not (tmp_path / "carol").exists()
    (tmp_path / "p").touch(mode=0o600)
    (tmp_path / "p").write_text(FIRST)
    code, _, _ = await in_process(f"init --passphrase-file {tmp_path / 'p'}", home="carol")
    assert (code, (tmp_path / "carol/keys/account.key").exists()) == (Exit.OK, True)
    code, _, _ = await in_process("init --no-passphrase", home="dave")
    assert (code, (tmp_path / "dave/keys/account.seed").exists()) == (Exit.OK, True)
