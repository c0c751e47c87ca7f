"""Accounts as people type them: by the name that the genesis document gives, or by address."""

import re

from flocknode.errors import UsageError
from flocknode.home import Home, load_names

ADDRESS = re.compile(r"[0-9a-f]{64}")


def resolve_account(home: Home, text: str) -> str:
    """Return the address in hex of an account given by name or address. Raises `UsageError` when it is neither."""
    if ADDRESS.fullmatch(text.lower()):
        return text.lower()
    addresses: dict[str, str] = {}
    for address, name in load_names(home).items():
        # An account comes before the consensus key that has its name, too.
        addresses.setdefault(name, address)
    if text in addresses:
        return addresses[text]
    known = ", ".join(addresses)
    raise UsageError(
        f"{text!r} is neither an address (64 hex digits) nor a name of the genesis document",
        help=f"Names: {known}." if known else "",
    )
