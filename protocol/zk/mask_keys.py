"""The X25519 keys of masked mode, one a client and attempt, and the seed that every pair shares (`masking`).

A seed is bound to the round's context and to both accounts. So who puts another's public key on the log as its own
shares no seed with it: were the seeds equal, their two masks could cancel in a third client's vector and bare it.
"""

from collections.abc import Mapping

from nacl import bindings, exceptions

from protocol.crypto import hash_parts
from protocol.errors import InvalidProof

# Any secret does: a key of small order gives all of them the same answer, which is refused.
_ANY_SECRET = bytes(range(32))


def mask_public_key(secret: bytes) -> bytes:
    """Return the X25519 public key (32 bytes), for the log, of a client's 32 secret bytes of an attempt."""
    return bindings.crypto_scalarmult_base(secret)


def check_mask_key(public: bytes) -> None:
    """Return if a public key shares a secret with every other; raise `InvalidProof` for one of small order."""
    _share(_ANY_SECRET, public)


def derive_seed(secret: bytes, public: bytes, *, clients: tuple[bytes, bytes], context: bytes) -> bytes:
    """Return the seed (32 bytes) that two clients share, for the round of this digest (`statement.context_digest`).

    `secret` is one side's, `public` the other's, `clients` the accounts of both: the same for both sides. Raises
    `InvalidProof` for a public key that gives no secret.
    """
    keys = sorted((mask_public_key(secret), public))
    return hash_parts("flock/zk/seed", context, *sorted(clients), *keys, _share(secret, public))


def derive_seeds(secret: bytes, *, client: bytes, peers: Mapping[bytes, bytes], context: bytes) -> dict[bytes, bytes]:
    """Return the seeds that the account `client` shares with its peers, by their accounts; so are their public keys."""
    return {
        peer: derive_seed(secret, public, clients=(client, peer), context=context) for peer, public in peers.items()
    }


def _share(secret: bytes, public: bytes) -> bytes:
    try:
        return bindings.crypto_scalarmult(secret, public)
    except (exceptions.CryptoError, ValueError, RuntimeError) as error:
        raise InvalidProof("a masking key that shares no secret", key=public.hex()) from error
