"""Commands about the keys of a home: what is public of them, the account's passphrase, backups, unlocking."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from msgspec import Struct

from flocknode.cli import passphrase
from flocknode.cli.options import Common, Options
from flocknode.cli.output import note, show
from flocknode.cli.passphrase import NewPassphraseFile, NoPassphrase, PassphraseFile
from flocknode.cli.text import format_fields
from flocknode.errors import UsageError
from flocknode.home import Home
from flocknode.rpc.call import call
from flocknode.rpc.records import Locked, Unlocked

WITHOUT = ", or leave the key in clear with --no-passphrase"

keys = App(name="keys")


class ShownKeys(Struct, frozen=True):
    """The public halves of a home's keys, and whether the account's lies under a passphrase."""

    account: str
    consensus_key: str
    vrf_key: str
    peer: str
    has_passphrase: bool


class ChangedAccount(Struct, frozen=True):
    """The account of a home after a change of its key, or the file that holds a copy."""

    account: str
    file: str
    has_passphrase: bool


@keys.command(name="show")
def show_keys(*, options: Common) -> None:
    """Show the public halves of the keys; the secret ones are never shown."""
    from flocknode.keystore import is_sealed, load_public_keys

    options.home.require()
    public = load_public_keys(options.home)
    found = ShownKeys(
        account=public.account.hex(),
        consensus_key=public.consensus.hex(),
        vrf_key=public.vrf.hex(),
        peer=public.peer_id,
        has_passphrase=is_sealed(options.home),
    )

    def render(found: ShownKeys) -> str:
        return format_fields(
            [
                ("account", f"{found.account}  {'under a passphrase' if found.has_passphrase else 'in clear'}"),
                ("consensus key", f"{found.consensus_key}  in clear, so that the node votes by itself"),
                ("VRF key", found.vrf_key),
                ("peer", found.peer),
            ]
        )

    show(options, found, render)


@keys.command
def unlock(*, passphrase_file: PassphraseFile = None, options: Common) -> None:
    """Open the account's key in the running daemon, until it stops or `keys lock`.

    Parameters
    ----------
    passphrase_file
        A file whose first line is the passphrase; asked for if not given.
    """
    options.home.require()
    given = passphrase.get_passphrase(options.home, passphrase_file)
    if given is None:
        raise UsageError("the account key of this home is in clear: nothing is locked")
    found = call(options.home, "keys.unlock", Unlocked, passphrase=given)
    show(options, found, lambda found: f"unlocked {found.account} until the daemon stops or `flocknode keys lock`")


@keys.command
def lock(*, options: Common) -> None:
    """Let the running daemon forget the account's key; it goes on replicating, and signs nothing for the account."""
    found = call(options.home, "keys.lock", Locked)
    show(options, found, lambda found: f"locked {found.account}; `flocknode keys unlock` opens it again")


@keys.command(name="passphrase")
def change(
    *,
    passphrase_file: PassphraseFile = None,
    new_passphrase_file: NewPassphraseFile = None,
    no_passphrase: NoPassphrase = False,
    options: Common,
) -> None:
    """Put the account's key under another passphrase, or under none.

    Parameters
    ----------
    passphrase_file
        A file whose first line is the present passphrase; asked for if not given.
    new_passphrase_file
        A file whose first line is the new passphrase; asked for if not given.
    no_passphrase
        Leave the key in clear from now on: whoever reads the file owns the account.
    """
    from flocknode.keystore import change_passphrase, load_account_seed

    home = options.home
    home.require()
    old = passphrase.get_passphrase(home, passphrase_file)
    # A wrong old one is told before a new one is asked for.
    load_account_seed(home, old)
    new = _get_new(new_passphrase_file, no_passphrase)
    change_passphrase(home, old=old, new=new)
    _show_changed(options, home)


@keys.command
def export(
    out: Path,
    /,
    *,
    passphrase_file: PassphraseFile = None,
    new_passphrase_file: NewPassphraseFile = None,
    options: Common,
) -> None:
    """Write a copy of the account's key to a file, under a passphrase of its own: a backup.

    Parameters
    ----------
    out
        The file to write.
    passphrase_file
        A file whose first line is the home's passphrase; asked for if not given.
    new_passphrase_file
        A file whose first line is the passphrase of the copy; asked for if not given.
    """
    from flocknode.keystore import export_account, load_account_seed, load_address

    home = options.home
    home.require()
    old = passphrase.get_passphrase(home, passphrase_file)
    load_account_seed(home, old)
    new = passphrase.get_new_passphrase(new_passphrase_file, option="--new-passphrase-file", without="")
    export_account(home, passphrase=old, out=out, out_passphrase=new)
    made = ChangedAccount(account=load_address(home).hex(), file=str(out.absolute()), has_passphrase=True)
    show(options, made, lambda made: format_fields([("account", made.account), ("file", made.file)]))


@keys.command(name="import")
def import_key(
    source: Path,
    /,
    *,
    passphrase_file: PassphraseFile = None,
    new_passphrase_file: NewPassphraseFile = None,
    no_passphrase: Annotated[bool, Parameter(negative="")] = False,
    options: Common,
) -> None:
    """Make an exported key the account of this home; the key that was there stays beside it in `keys/`.

    Parameters
    ----------
    source
        A file made by `flocknode keys export`.
    passphrase_file
        A file whose first line is the passphrase of that file; asked for if not given.
    new_passphrase_file
        A file whose first line is the passphrase to put the key under here; asked for if not given.
    no_passphrase
        Leave the key in clear in this home.
    """
    from flocknode.keystore import import_account
    from storage.lock import HomeLock

    home = options.home
    home.require()
    if not source.is_file():
        raise UsageError(f"there is no file {source}")
    given = passphrase.get_passphrase_of(source, passphrase_file)
    new = _get_new(new_passphrase_file, no_passphrase)
    # A running daemon would go on with the key that it has.
    with HomeLock(home.path):
        import_account(home, source, source_passphrase=given, passphrase=new)
    _show_changed(options, home)
    note(options, "The consensus and peer keys of this home stay as they are.")


def _get_new(file: Path | None, no_passphrase: bool) -> str | None:
    if no_passphrase and file is not None:
        raise UsageError("--no-passphrase and --new-passphrase-file exclude each other")
    if no_passphrase:
        return None
    return passphrase.get_new_passphrase(file, option="--new-passphrase-file", without=WITHOUT)


def _show_changed(options: Options, home: Home) -> None:
    from flocknode.keystore import account_file, is_sealed, load_address

    made = ChangedAccount(
        account=load_address(home).hex(), file=str(account_file(home)), has_passphrase=is_sealed(home)
    )

    def render(made: ChangedAccount) -> str:
        state = "under a passphrase" if made.has_passphrase else "in clear: whoever reads the file owns the account"
        return format_fields([("account", made.account), ("file", made.file), ("key", state)])

    show(options, made, render)
