"""Passphrases as people give them: typed on a terminal, or in a file that nobody else can read. Never an argument.

What knows keys is imported where it is used, for `status` is in a hurry.
"""

import stat
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flocknode.errors import FileUnusable, KeyLocked, UsageError
from flocknode.home import Home

# Room for the longest passphrase, whatever its characters are.
MAX_FILE_BYTES = 8192

PassphraseFile = Annotated[Path | None, Parameter(name="--passphrase-file")]
NewPassphraseFile = Annotated[Path | None, Parameter(name="--new-passphrase-file")]
NoPassphrase = Annotated[bool, Parameter(name="--no-passphrase", negative="")]


def read_file(path: Path) -> str:
    """Return the first line of a passphrase file. Raises `FileUnusable`."""
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise FileUnusable(f"{path} can be read by others", help=f"Run `chmod 600 {path}`.")
            line = file.read(MAX_FILE_BYTES).split(b"\n", 1)[0]
        return line.decode().rstrip("\r")
    except OSError as error:
        raise FileUnusable(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FileUnusable(f"{path} does not begin with a line of text") from error


def ask(prompt: str) -> str:
    """Return what a person types, which is not shown."""
    from getpass import getpass

    return getpass(f"{prompt}: ", stream=sys.stderr)


def get_passphrase(home: Home, file: Path | None) -> str | None:
    """Return the passphrase of a home's account, None if its key lies in clear. Raises `KeyLocked` without a way."""
    from flocknode.keystore import is_sealed, sealed_account

    if not is_sealed(home):
        return None
    if file is not None:
        return read_file(file)
    return _ask_or_refuse(f"Passphrase of {sealed_account(home)}")


def get_passphrase_of(path: Path, file: Path | None) -> str:
    """Return the passphrase of an exported key. Raises `KeyLocked` without a way to get it."""
    return read_file(file) if file is not None else _ask_or_refuse(f"Passphrase of {path}")


def get_new_passphrase(file: Path | None, *, option: str, without: str) -> str:
    """Return a passphrase to put a key under, typed twice. Raises `UsageError` without a way to get it.

    `option` is what gives the file, `without` says what leaves the key in clear, if anything does.
    """
    from flocknode.sealed_key import check_new_passphrase

    if file is not None:
        passphrase = read_file(file)
    elif sys.stdin.isatty():
        passphrase = ask("New passphrase for the account key")
        check_new_passphrase(passphrase)
        if passphrase != ask("Again"):
            raise UsageError("the two passphrases differ")
    else:
        raise UsageError("no passphrase was given for the account key", help=f"Give one with {option} FILE{without}.")
    check_new_passphrase(passphrase)
    return passphrase


def _ask_or_refuse(prompt: str) -> str:
    if not sys.stdin.isatty():
        raise KeyLocked("the key is under a passphrase", help="Give it with --passphrase-file FILE, or on a terminal.")
    return ask(prompt)
