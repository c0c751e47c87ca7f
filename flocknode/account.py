"""The account of a running node: its address is always known, its key only once it is open."""

import trio

from flocknode.errors import KeyLocked, UsageError
from flocknode.home import Home
from flocknode.keystore import is_sealed, load_account_seed, load_address


class AccountKey:
    """The key that owns this node's FML. Locked, it signs nothing; whoever needs it is told so with `KeyLocked`."""

    def __init__(self, home: Home) -> None:
        """Read the key; one under a passphrase stays locked until `unlock`. Raises `KeyInvalid`."""
        self._home = home
        self.address = load_address(home)
        self._seed = None if is_sealed(home) else load_account_seed(home, None)
        self._opened = trio.Event()
        # Each check of a passphrase takes hundreds of megabytes for a moment.
        self._turn = trio.Lock()
        if self._seed is not None:
            self._opened.set()

    @property
    def is_locked(self) -> bool:
        """Whether a passphrase is needed before the account can do anything."""
        return self._seed is None

    def require_open(self) -> None:
        """Return if the account can sign; raise `KeyLocked` otherwise, before work is done that would be in vain."""
        assert self.seed

    @property
    def seed(self) -> bytes:
        """The secret seed; raises `KeyLocked`."""
        if self._seed is None:
            raise KeyLocked(
                "the account of this node is locked; the node replicates, but signs nothing for the account"
            )
        return self._seed

    async def unlock(self, passphrase: str) -> None:
        """Open the key until the daemon stops. Raises `WrongPassphrase` or `KeyInvalid`."""
        async with self._turn:
            if self._seed is None:
                self._seed = await trio.to_thread.run_sync(load_account_seed, self._home, passphrase)
                self._opened.set()

    async def lock(self) -> None:
        """Forget the key until it is unlocked again. Raises `UsageError` where no passphrase could open it."""
        async with self._turn:
            if not is_sealed(self._home):
                raise UsageError(
                    "the account key of this home is in clear: it cannot be locked",
                    help="Put it under a passphrase with `flocknode keys passphrase`, then restart the daemon.",
                )
            if self._seed is not None:
                self._seed, self._opened = None, trio.Event()

    async def wait_open(self) -> None:
        """Return once the key is open."""
        while self._seed is None:
            await self._opened.wait()
