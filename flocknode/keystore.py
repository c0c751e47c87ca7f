"""The secret keys of a home: 32-byte Ed25519 seeds in files that only their owner can read.

Three keys with separate jobs: the account owns FML, the consensus key signs votes, the peer key names the node to
others. The account's lies under a passphrase (`account.key`), unless its owner chose not to have one (`account.seed`);
the other two lie open, so that a node whose account is locked still replicates.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from flocknode.errors import FileUnusable, HomeExists, KeyInvalid, KeyLocked, UsageError
from flocknode.home import Home
from flocknode.sealed_key import MAX_FILE_BYTES, SealedKey, open_sealed_key, read_sealed_key, seal_key
from protocol import vrf
from protocol.crypto import public_key
from storage.files import create_durably

OPEN_KEYS = ("consensus", "peer")
SEED_BYTES = 32
PRIVATE_FILE = 0o600
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True)
class PublicKeys:
    """What others may know of a home's keys: the account's address, consensus key, VRF key, libp2p peer id."""

    account: bytes
    consensus: bytes
    vrf: bytes
    peer_id: str


def create_keys(home: Home, passphrase: str | None) -> PublicKeys:
    """Draw fresh keys and write them down, the account's under the passphrase; None leaves it in clear.

    Raises `HomeExists` when there is a key already, for keys are never replaced, and `UsageError` for a bad passphrase.
    """
    for path in (sealed_account(home), *(_seed_file(home, name) for name in ("account", *OPEN_KEYS))):
        if path.exists():
            raise HomeExists(f"{path} exists already", help="Choose another folder with --home.")
    _write_account(home, os.urandom(SEED_BYTES), passphrase)
    for name in OPEN_KEYS:
        _write_new(_seed_file(home, name), _format_seed(os.urandom(SEED_BYTES)))
    return load_public_keys(home)


def load_public_keys(home: Home) -> PublicKeys:
    """Return the public halves of the keys; the account need not be open for that."""
    return PublicKeys(
        account=load_address(home),
        consensus=public_key(load_consensus_seed(home)),
        vrf=vrf.public(load_vrf_secret(home)),
        peer_id=peer_id(public_key(load_peer_seed(home))),
    )


def is_sealed(home: Home) -> bool:
    """Return whether the account's key lies under a passphrase."""
    return sealed_account(home).exists()


def load_address(home: Home) -> bytes:
    """Return the account's address, whether or not its key is locked. Raises `KeyInvalid`."""
    if is_sealed(home):
        return bytes.fromhex(_load_sealed(sealed_account(home)).address)
    return public_key(_load_seed(home, "account"))


def load_account_seed(home: Home, passphrase: str | None) -> bytes:
    """Return the seed of the key that owns this node's FML; a key in clear needs no passphrase.

    Raises `KeyLocked` without a passphrase where one is needed, `WrongPassphrase`, or `KeyInvalid`.
    """
    if not is_sealed(home):
        return _load_seed(home, "account")
    if passphrase is None:
        raise KeyLocked(f"the account key in {home.keys} is under a passphrase")
    path = sealed_account(home)
    return open_sealed_key(_load_sealed(path), passphrase, source=str(path))


def change_passphrase(home: Home, *, old: str | None, new: str | None) -> None:
    """Put the account's key under another passphrase; None is none, and the key lies in clear."""
    _replace_account(home, load_account_seed(home, old), new, keep_old=None)


def export_account(home: Home, *, passphrase: str | None, out: Path, out_passphrase: str) -> None:
    """Write the account's key to a file of its own, under a passphrase. Raises `FileUnusable` when it exists."""
    try:
        _write_new(out, seal_key(load_account_seed(home, passphrase), out_passphrase))
    except OSError as error:
        raise FileUnusable(f"{out} cannot be written: {error.strerror}") from error


def import_account(home: Home, source: Path, *, source_passphrase: str, passphrase: str | None) -> bytes:
    """Make the key in an exported file the account of a home, and return its address.

    The key that was there stays in the folder, under a name that says whose it is. Raises `FileUnusable`, `KeyInvalid`,
    `WrongPassphrase`, or `UsageError` when it is the home's account already.
    """
    try:
        data = source.read_bytes()
    except OSError as error:
        raise FileUnusable(f"{source} cannot be read: {error.strerror}") from error
    seed = open_sealed_key(read_sealed_key(data, source=str(source)), source_passphrase, source=str(source))
    old = load_address(home)
    if public_key(seed) == old:
        raise UsageError(f"{source} holds the account that this home has already")
    _replace_account(home, seed, passphrase, keep_old=f"account-{old.hex()[:16]}")
    return public_key(seed)


def load_consensus_seed(home: Home) -> bytes:
    """Return the seed of the key that signs votes. Raises `KeyInvalid`."""
    return _load_seed(home, "consensus")


def load_vrf_secret(home: Home) -> bytes:
    """Return the secret key that this node's replica makes beacon proofs with. Raises `KeyInvalid`."""
    return vrf.key_from_seed(load_consensus_seed(home))


def load_peer_seed(home: Home) -> bytes:
    """Return the seed of the key that names this node to its peers. Raises `KeyInvalid`."""
    return _load_seed(home, "peer")


def peer_id(key: bytes) -> str:
    """Return the libp2p peer id of an Ed25519 public key (libp2p specs, peer-ids: identity multihash in base58)."""
    # The protobuf message: field 1 (key type) = 1 (Ed25519), field 2 (data) = 32 bytes; 0x00 0x24: identity, 36 bytes.
    return _base58(b"\x00\x24\x08\x01\x12\x20" + key)


def sealed_account(home: Home) -> Path:
    """Return where the account's key lies when it is under a passphrase."""
    return home.keys / "account.key"


def account_file(home: Home) -> Path:
    """Return where the account's key lies."""
    return sealed_account(home) if is_sealed(home) else _seed_file(home, "account")


def _seed_file(home: Home, name: str) -> Path:
    return home.keys / f"{name}.seed"


def _write_account(home: Home, seed: bytes, passphrase: str | None) -> None:
    _write_new(*_make_account_file(home, seed, passphrase))


def _make_account_file(home: Home, seed: bytes, passphrase: str | None) -> tuple[Path, bytes]:
    """Return where the account's key belongs, and the bytes of its file."""
    if passphrase is None:
        return _seed_file(home, "account"), _format_seed(seed)
    return sealed_account(home), seal_key(seed, passphrase)


def _replace_account(home: Home, seed: bytes, passphrase: str | None, *, keep_old: str | None) -> None:
    """Put a key in the place of the account's; the old file is removed, or kept under a name. No crash loses a key."""
    path, data = _make_account_file(home, seed, passphrase)
    places = (sealed_account(home), _seed_file(home, "account"))
    for old in places:
        if keep_old is not None and old.exists():
            old.rename(old.with_name(f"{keep_old}{old.suffix}"))
    create_durably(path, data, temporary=path.with_suffix(f"{path.suffix}.new"))
    for old in places:
        if old != path:
            old.unlink(missing_ok=True)


def _format_seed(seed: bytes) -> bytes:
    return seed.hex().encode() + b"\n"


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _load_sealed(path: Path) -> SealedKey:
    return read_sealed_key(_read_private(path, "account"), source=f"the account key {path}")


def _load_seed(home: Home, name: str) -> bytes:
    path = _seed_file(home, name)
    try:
        seed = bytes.fromhex(_read_private(path, name).decode("ascii"))
    except ValueError as error:
        raise KeyInvalid(f"the {name} key {path} is damaged", help="Restore it from your backup.") from error
    if len(seed) != SEED_BYTES:
        raise KeyInvalid(f"the {name} key {path} has {len(seed)} bytes instead of {SEED_BYTES}")
    return seed


def _read_private(path: Path, name: str) -> bytes:
    """Return the content of a key file. Raises `KeyInvalid` when it is missing or others could read it."""
    if not path.is_file():
        raise KeyInvalid(f"the {name} key {path} is missing", help="Restore it from your backup.")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise KeyInvalid(f"the {name} key {path} can be read by others", help=f"Run `chmod 600 {path}`.")
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES)


def _base58(data: bytes) -> str:
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = BASE58[digit] + text
    leading_zeros = len(data) - len(data.lstrip(b"\0"))
    return BASE58[0] * leading_zeros + text
