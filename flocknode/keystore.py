"""The secret keys of a home: 32-byte Ed25519 seeds in files that only their owner can read.

Three keys with separate jobs: the account owns FML, the consensus key signs votes, the peer key names the node to
others. A node whose account is not at hand can still replicate.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from flocknode.errors import HomeExists, KeyInvalid
from flocknode.home import Home
from protocol import vrf
from protocol.crypto import public_key

KEY_NAMES = ("account", "consensus", "peer")
SEED_BYTES = 32
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True)
class PublicKeys:
    """What others may know of a home's keys: the account's address, consensus key, VRF key, libp2p peer id."""

    account: bytes
    consensus: bytes
    vrf: bytes
    peer_id: str


def create_keys(home: Home) -> PublicKeys:
    """Draw fresh keys and write them down. Raises `HomeExists` when there is one already: keys are never replaced."""
    for name in KEY_NAMES:
        if _path(home, name).exists():
            raise HomeExists(f"{_path(home, name)} exists already", help="Choose another folder with --home.")
    for name in KEY_NAMES:
        _write_seed(_path(home, name), os.urandom(SEED_BYTES))
    return load_public_keys(home)


def load_public_keys(home: Home) -> PublicKeys:
    """Return the public halves of the keys."""
    return PublicKeys(
        account=public_key(load_account_seed(home)),
        consensus=public_key(load_consensus_seed(home)),
        vrf=vrf.public(load_vrf_secret(home)),
        peer_id=peer_id(public_key(load_peer_seed(home))),
    )


def load_account_seed(home: Home) -> bytes:
    """Return the seed of the key that owns this node's FML. Raises `KeyInvalid`."""
    return _load_seed(home, "account")


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


def _path(home: Home, name: str) -> Path:
    return home.keys / f"{name}.seed"


def _write_seed(path: Path, seed: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(seed.hex() + "\n")
        file.flush()
        os.fsync(descriptor)


def _load_seed(home: Home, name: str) -> bytes:
    path = _path(home, name)
    if not path.is_file():
        raise KeyInvalid(f"the {name} key {path} is missing", help="Restore it from your backup.")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise KeyInvalid(f"the {name} key {path} can be read by others", help=f"Run `chmod 600 {path}`.")
    try:
        seed = bytes.fromhex(path.read_text(encoding="ascii"))
    except ValueError as error:
        raise KeyInvalid(f"the {name} key {path} is damaged", help="Restore it from your backup.") from error
    if len(seed) != SEED_BYTES:
        raise KeyInvalid(f"the {name} key {path} has {len(seed)} bytes instead of {SEED_BYTES}")
    return seed


def _base58(data: bytes) -> str:
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = BASE58[digit] + text
    leading_zeros = len(data) - len(data.lstrip(b"\0"))
    return BASE58[0] * leading_zeros + text
