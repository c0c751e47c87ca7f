"""The account of a running node: locked until its passphrase comes, one guess at a time."""

import pytest
import trio

from flocknode import keystore, sealed_key
from flocknode.account import AccountKey
from flocknode.errors import KeyLocked, UsageError, WrongPassphrase
from flocknode.home import Home

PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home without keys, where passphrases are quick to check."""
    monkeypatch.setattr(sealed_key, "OPERATIONS", 1)
    monkeypatch.setattr(sealed_key, "MEMORY_BYTES", 8192)
    home = Home(tmp_path)
    home.create()
    return home


async def test_a_key_in_clear_is_open(home):
    """Without a passphrase nobody has to wait."""
    keystore.create_keys(home, None)
    account = AccountKey(home)
    account.require_open()
    await account.wait_open()
    assert (account.is_locked, account.seed) == (False, keystore.load_account_seed(home, None))


async def test_a_locked_account_has_its_address_only(home, nursery):
    """What needs the key is told that it is locked; who waits goes on once the right passphrase came."""
    keystore.create_keys(home, PASSPHRASE)
    account, opened = AccountKey(home), trio.Event()

    async def wait():
        await account.wait_open()
        opened.set()

    nursery.start_soon(wait)
    assert account.address == keystore.load_address(home)
    for need in (account.require_open, lambda: account.seed):
        with pytest.raises(KeyLocked, match="the account of this node is locked"):
            need()
    with pytest.raises(WrongPassphrase):
        await account.unlock("something else")
    assert account.is_locked
    assert not opened.is_set()
    await account.unlock(PASSPHRASE)
    await opened.wait()
    assert account.seed == keystore.load_account_seed(home, PASSPHRASE)


async def test_a_locked_account_forgets_its_key(home, nursery):
    """After `lock` nothing is signed and who waits waits, until the passphrase comes again."""
    keystore.create_keys(home, PASSPHRASE)
    account = AccountKey(home)
    await account.unlock(PASSPHRASE)
    await account.lock()
    await account.lock()
    assert account.is_locked
    with pytest.raises(KeyLocked):
        assert account.seed
    with trio.move_on_after(0.01) as patience:
        await account.wait_open()
    assert patience.cancelled_caught
    await account.unlock(PASSPHRASE)
    await account.wait_open()
    assert not account.is_locked


async def test_who_waited_for_the_key_finds_it_open(home):
    """Should the account be locked again before the waiter has its turn, it waits on; tried in many orders."""
    keystore.create_keys(home, PASSPHRASE)
    account = AccountKey(home)

    async def wait():
        await account.wait_open()
        account.require_open()

    for _ in range(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await account.unlock(PASSPHRASE)
            await account.lock()
            await account.unlock(PASSPHRASE)
        await account.lock()


async def test_a_key_in_clear_cannot_be_locked(home):
    """Nothing could open it again, so it says what to do instead."""
    keystore.create_keys(home, None)
    account = AccountKey(home)
    with pytest.raises(UsageError, match="in clear") as caught:
        await account.lock()
    assert "keys passphrase" in caught.value.help
    assert not account.is_locked


async def test_guesses_wait_for_each_other(home, monkeypatch):
    """Each guess takes much memory, so two never run at once, whoever sends them."""
    keystore.create_keys(home, PASSPHRASE)
    account, running, most = AccountKey(home), 0, 0

    async def guess(*_):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.testing.wait_all_tasks_blocked()
        running -= 1
        raise WrongPassphrase("no")

    monkeypatch.setattr(trio.to_thread, "run_sync", guess)
    async with trio.open_nursery() as nursery:
        for _ in range(3):

            async def attempt():
                with pytest.raises(WrongPassphrase):
                    await account.unlock("x")

            nursery.start_soon(attempt)
    assert most == 1
