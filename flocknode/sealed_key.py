"""A secret key under a passphrase, as one JSON file: argon2id makes a key of the passphrase for a secret box.

The address stands in clear, so that a node knows whose it is while the key is locked. Sources: RFC 9106 (argon2id),
libsodium's `crypto_pwhash` at its "moderate" limits and `crypto_secretbox` (XSalsa20-Poly1305).
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct
from nacl import exceptions, pwhash, utils
from nacl.secret import SecretBox

from flocknode.errors import KeyInvalid, UsageError, WrongPassphrase
from protocol.crypto import public_key

OPERATIONS = 3
MEMORY_BYTES = 256 * 1024**2
SALT_BYTES = 16
MAX_FILE_BYTES = 4096
MIN_PASSPHRASE_CHARACTERS = 8
MAX_PASSPHRASE_CHARACTERS = 1024

Hex = Annotated[str, Meta(pattern="^([0-9a-f]{2})+$", max_length=256)]


class SealedKey(Struct, frozen=True, forbid_unknown_fields=True):
    """The file. The limits of what it may ask for keep a strange file from taking all memory."""

    version: Literal[1]
    address: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    kdf: Literal["argon2id"]
    operations: Annotated[int, Meta(ge=1, le=16)]
    memory_bytes: Annotated[int, Meta(ge=8192, le=2**30)]
    salt: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    box: Hex


def check_new_passphrase(passphrase: str) -> None:
    """Raise `UsageError` for a passphrase that is too short to keep anything."""
    if not MIN_PASSPHRASE_CHARACTERS <= len(passphrase) <= MAX_PASSPHRASE_CHARACTERS:
        raise UsageError(
            f"a passphrase has {MIN_PASSPHRASE_CHARACTERS} to {MAX_PASSPHRASE_CHARACTERS} characters, "
            f"not {len(passphrase)}",
            help="Five random words are a good one.",
        )


def seal_key(seed: bytes, passphrase: str) -> bytes:
    """Return the file that holds a seed under a passphrase. Takes about a second, on purpose."""
    check_new_passphrase(passphrase)
    salt = utils.random(SALT_BYTES)
    sealed = SealedKey(
        version=1,
        address=public_key(seed).hex(),
        kdf="argon2id",
        operations=OPERATIONS,
        memory_bytes=MEMORY_BYTES,
        salt=salt.hex(),
        box=bytes(SecretBox(_derive(passphrase, salt, OPERATIONS, MEMORY_BYTES)).encrypt(seed)).hex(),
    )
    return msgspec.json.format(msgspec.json.encode(sealed), indent=2) + b"\n"


def read_sealed_key(data: bytes, *, source: str) -> SealedKey:
    """Return the file's content, still sealed. Raises `KeyInvalid` when it is no such file."""
    try:
        return msgspec.json.decode(data[:MAX_FILE_BYTES], type=SealedKey)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # What exactly is wrong could quote the file.
        raise KeyInvalid(f"{source} is not a sealed key", help="Restore it from your backup.") from error


def open_sealed_key(sealed: SealedKey, passphrase: str, *, source: str) -> bytes:
    """Return the seed. Raises `WrongPassphrase`, or `KeyInvalid` when the seed is not the one of the address."""
    key = _derive(passphrase, bytes.fromhex(sealed.salt), sealed.operations, sealed.memory_bytes)
    try:
        seed = SecretBox(key).decrypt(bytes.fromhex(sealed.box))
    except (exceptions.CryptoError, ValueError) as error:
        raise WrongPassphrase(f"the passphrase does not open {source}") from error
    if len(seed) != SecretBox.KEY_SIZE or public_key(seed).hex() != sealed.address:
        raise KeyInvalid(f"{source} holds the key of another address than it says", help="Restore it from your backup.")
    return seed


def _derive(passphrase: str, salt: bytes, operations: int, memory_bytes: int) -> bytes:
    try:
        return pwhash.argon2id.kdf(
            SecretBox.KEY_SIZE,
            passphrase[:MAX_PASSPHRASE_CHARACTERS].encode(),
            salt,
            opslimit=operations,
            memlimit=memory_bytes,
        )
    except exceptions.RuntimeError as error:
        raise KeyInvalid(f"a passphrase needs {memory_bytes // 1024**2} MiB of free memory to be checked") from error
