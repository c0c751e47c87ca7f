"""A replica's word for its node: the consensus key signs which peer id speaks for it.

A voucher may be passed on: only the holder of the peer key can make use of it, and at most one link for each
consensus key counts. Whether the key is bonded is for the rest of the node to say.
"""

from protocol import crypto
from protocol.types import Bytes32, Record, Signature

DOMAIN = "flock/voucher"


class Voucher(Record):
    """A consensus key, and its signature over the chain and the peer id it vouches for."""

    key: Bytes32
    signature: Signature


def make_voucher(consensus_seed: bytes, chain: bytes, peer: str) -> Voucher:
    """Return the voucher of a consensus key for a peer."""
    return Voucher(crypto.public_key(consensus_seed), crypto.sign(consensus_seed, DOMAIN, chain, peer.encode()))


def verify_voucher(voucher: Voucher, chain: bytes, peer: str) -> None:
    """Return if the voucher is for this peer on this chain; raise `InvalidSignature` otherwise."""
    crypto.verify(voucher.key, voucher.signature, DOMAIN, chain, peer.encode())
