"""The loop of a participant's duties."""

import trio

from flocknode import keystore, sealed_key
from flocknode.account import AccountKey
from flocknode.home import Home
from flocknode.participants.performer import Performer

PASSPHRASE = "correct horse battery staple"


class Kit:
    """An account, and a chain that says when it is looked at."""

    def __init__(self, account):
        self.account = account
        self.looked = trio.Event()

    @property
    def chain(self):
        self.looked.set()
        raise LookupError("no chain here")


async def test_a_locked_account_has_no_duties_until_it_is_open(tmp_path, monkeypatch):
    """While the key is locked the state is not even read for duties; once it is open they begin."""
    monkeypatch.setattr(sealed_key, "OPERATIONS", 1)
    monkeypatch.setattr(sealed_key, "MEMORY_BYTES", 8192)
    home = Home(tmp_path)
    home.create()
    keystore.create_keys(home, PASSPHRASE)
    kit = Kit(AccountKey(home))

    async def run():
        try:
            await Performer(kit, trio.sleep).run()
        except* LookupError:
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        assert not kit.looked.is_set()
        await kit.account.unlock(PASSPHRASE)
        await kit.looked.wait()
