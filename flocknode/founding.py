"""How a home begins, and how a chain does: keys and settings of one node, the genesis document of several."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from flocknode.config import load_config, make_config, save_config
from flocknode.errors import ConfigInvalid, FileUnusable, HomeExists, UsageError
from flocknode.home import MAX_GENESIS_BYTES, Home
from flocknode.keystore import PublicKeys, create_keys, load_public_keys
from flocknode.sealed_key import check_new_passphrase
from protocol import plain
from protocol.errors import InvalidGenesis, Malformed
from protocol.genesis import GenesisAccount, GenesisDocument, GenesisReplica, check_genesis, genesis_digest
from protocol.params import PRESETS


class NewHome(Struct, frozen=True):
    """What others need to know of a home: keys and ids in hex, the chain's identity once there is a document."""

    home: str
    name: str
    account: str
    consensus_key: str
    vrf_key: str
    peer: str
    chain: str | None


def create_home(
    home: Home,
    *,
    genesis: Path | None,
    port: int | None,
    bootstrap: tuple[str, ...],
    name: str | None,
    passphrase: str | None,
) -> NewHome:
    """Create a home, or add the chain's document to one that has none yet; checks everything before it makes anything.

    The account's key lies under the passphrase, with None in clear. Raises `HomeExists` rather than replace keys,
    settings or a document.
    """
    document = None if genesis is None else load_document(genesis)
    is_new = not home.config_file.exists()
    is_addition = document is not None and port is None and not bootstrap and name is None
    if not is_new and (not is_addition or home.genesis_file.exists()):
        raise HomeExists(
            f"there is a node in {home.path} already",
            help=f"Choose another folder with --home, or edit {home.config_file}.",
        )
    if is_new:
        config = make_config(name=name or home.path.absolute().name, port=port or 0, bootstrap=bootstrap)
        if passphrase is not None:
            check_new_passphrase(passphrase)
        home.create()
        create_keys(home, passphrase)
        save_config(home, config)
    if document is not None:
        save_document(home.genesis_file, document)
    return describe_home(home)


def describe_home(home: Home) -> NewHome:
    """Return what others need to know of a home."""
    keys = load_public_keys(home)
    chain = genesis_digest(load_document(home.genesis_file)).hex() if home.genesis_file.exists() else None
    return NewHome(
        home=str(home.path),
        name=load_config(home).name,
        account=keys.account.hex(),
        consensus_key=keys.consensus.hex(),
        vrf_key=keys.vrf.hex(),
        peer=keys.peer_id,
        chain=chain,
    )


def make_genesis(
    homes: Sequence[Home],
    *,
    preset: str,
    name: str,
    balance_units: int,
    bond_units: int,
    governance: str | None = None,
) -> GenesisDocument:
    """Return the document of a chain whose accounts and first replicas are those of some homes.

    Every account starts with the balance; with a bond above zero it is also a replica. `governance` is the name of the
    one that verifies tasks. Raises `UsageError` or `InvalidGenesis`.
    """
    if preset not in PRESETS:
        raise UsageError(f"there is no preset {preset!r}", help=f"Presets: {', '.join(PRESETS)}.")
    names = [load_config(home).name for home in homes]
    if len(set(names)) != len(names):
        raise UsageError(f"two homes have the same name: {', '.join(names)}", help="Edit `name` in a config.toml.")
    keys = [load_public_keys(home) for home in homes]
    document = GenesisDocument(
        name=name,
        time_ms=time.time_ns() // 10**6,
        params=PRESETS[preset],
        accounts=tuple(
            GenesisAccount(name=name, address=key.account, balance=balance_units)
            for name, key in zip(names, keys, strict=True)
        ),
        replicas=tuple(
            GenesisReplica(account=key.account, key=key.consensus, vrf_key=key.vrf, bond=bond_units) for key in keys
        )
        if bond_units
        else (),
        governance=None if governance is None else find_account(governance, names, keys),
    )
    check_genesis(document)
    return document


def find_account(name: str, names: Sequence[str], keys: Sequence[PublicKeys]) -> bytes:
    """Return the address of the home with this name; raises `UsageError`."""
    if name not in names:
        raise UsageError(f"none of the homes is called {name!r}", help=f"Homes: {', '.join(names)}.")
    return keys[names.index(name)].account


def load_document(path: Path) -> GenesisDocument:
    """Return the checked genesis document of a JSON file. Raises `FileUnusable` or `ConfigInvalid`."""
    try:
        if path.stat().st_size > MAX_GENESIS_BYTES:
            raise FileUnusable(f"{path} is larger than {MAX_GENESIS_BYTES} bytes")
        text = path.read_bytes()
    except OSError as error:
        raise FileUnusable(
            f"the genesis document {path} cannot be read: {error.strerror}",
            help="It is the same file for all nodes of a chain: `flocknode init --genesis FILE` puts it into the home.",
        ) from error
    try:
        document = plain.from_plain(GenesisDocument, json.loads(text))
        check_genesis(document)
    except (ValueError, Malformed, InvalidGenesis) as error:
        raise ConfigInvalid(f"{path} is not a genesis document: {error}") from error
    return document


def save_document(path: Path, document: GenesisDocument) -> None:
    """Write a genesis document as JSON; a file that is there already stays as it is and raises `FileUnusable`."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(plain.to_plain(document), indent=2) + "\n")
    except OSError as error:
        raise FileUnusable(f"{path} cannot be written: {error.strerror}") from error
