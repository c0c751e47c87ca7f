"""Masked updates on the log (zk.md "Masked mode"): what voters and clients work out masks from, of the state alone.

Clients of an attempt are the proposers that committed to an update; masks are between them, and all of their vectors
are needed for the sum.
"""

from collections.abc import Mapping

from protocol.crypto import hash_parts, integer_bytes
from protocol.errors import OutOfBounds
from protocol.models import count_values
from protocol.params import Params
from protocol.rules.alliance.commitments import COMMITTED, get_committed, is_masked, make_round_context
from protocol.rules.alliance.records import (
    UPDATES,
    Alliance,
    get_round,
    get_update,
)
from protocol.state import Overlay, StateView, Table
from protocol.types import Bytes32, Record
from protocol.zk.commitment import aggregate_bytes
from protocol.zk.mask_keys import check_mask_key, derive_seed
from protocol.zk.statement import context_digest


class Mask(Record):
    """A client's X25519 public key of the attempt, and the secret once it was shown."""

    key: Bytes32
    secret: Bytes32 | None


# Keys: alliance, round, then a client.
MASKS = Table(b"Fm", Mask)


def get_mask(state: StateView, alliance: Alliance, client: bytes) -> Mask | None:
    """Return the mask key of a client of the current round, if it put one on the log."""
    return MASKS.get(state, integer_bytes(alliance.id), integer_bytes(alliance.round), client)


def put_mask(state: Overlay, alliance: Alliance, client: bytes, mask: Mask) -> None:
    """Set a client's mask key of the current round."""
    MASKS.put(state, mask, integer_bytes(alliance.id), integer_bytes(alliance.round), client)


def note_mask_key(state: Overlay, alliance: Alliance, client: bytes, key: bytes | None) -> None:
    """Keep the public key that came with a commitment: where updates are masked there must be one, elsewhere none.

    Raises `OutOfBounds`, or `InvalidProof` for a key that shares no secret.
    """
    if is_masked(alliance) != (key is not None):
        raise OutOfBounds("a mask key comes with a commitment where updates are masked, and nowhere else")
    if key is not None:
        check_mask_key(key)
        put_mask(state, alliance, client, Mask(key, None))


def vector_bytes(params: Params, alliance: Alliance) -> int:
    """Return the exact length of a masked update, and of the sum of them."""
    values = count_values(alliance.spec.model)
    assert values is not None, "hidden updates of a model of unknown size"
    return aggregate_bytes(params.alliance.zk, values)


def list_clients(state: StateView, alliance: Alliance) -> tuple[bytes, ...]:
    """Return the clients of the current attempt, sorted: who shares masks with whom, and whose weights count."""
    proposers = get_round(state, alliance.id, alliance.round).proposers
    return tuple(one.address for one in proposers if get_committed(state, alliance, one.address) is not None)


def get_mask_keys(state: StateView, alliance: Alliance) -> dict[bytes, bytes]:
    """Return the public keys of all clients of the current attempt."""
    return {client: mask.key for client, mask in _get_masks(state, alliance).items()}


def clear_attempt(state: Overlay, alliance: Alliance) -> None:
    """Let nothing stay of an attempt that did not come to a sum: commitments, keys and vectors."""
    for proposer in get_round(state, alliance.id, alliance.round).proposers:
        for table in (COMMITTED, MASKS, UPDATES):
            table.delete(state, integer_bytes(alliance.id), integer_bytes(alliance.round), proposer.address)


# --- who lied --------------------------------------------------------------------------------------------------------


def find_unopened(state: StateView, alliance: Alliance) -> tuple[bytes, ...]:
    """Return the clients that showed no secret, sorted.

    One alone can be checked all the same, for its peers' secrets give its seeds. Of several none can be, for the seeds
    that they share with one another stay unknown: all of them count as liars.
    """
    return tuple(client for client, mask in _get_masks(state, alliance).items() if mask.secret is None)


def recover_seeds(
    state: StateView, chain: bytes, params: Params, alliance: Alliance, client: bytes
) -> dict[bytes, bytes]:
    """Return the seeds that a client shared with its peers, from the secrets shown: one of either side is enough.

    Asserts that there is one for every pair.
    """
    masks = _get_masks(state, alliance)
    context = context_digest(make_round_context(state, chain, params, alliance))
    return {peer: _recover_seed(masks, client, peer, context) for peer in masks if peer != client}


def derive_check(state: StateView, chain: bytes, params: Params, alliance: Alliance) -> bytes:
    """Return the 32 bytes that vectors are checked with (`masking.contradicts`), the same for all voters.

    A hash of everything that was fixed before them: who alters its vector alters them, so nobody can aim at them.
    """
    context = context_digest(make_round_context(state, chain, params, alliance))
    parts = []
    for client, mask in _get_masks(state, alliance).items():
        committed, vector = (
            get_committed(state, alliance, client),
            get_update(state, alliance.id, alliance.round, client),
        )
        assert committed is not None, "a mask without a commitment"
        assert committed.update is not None, "a round that is over"
        assert vector is not None, "a verdict without a vector"
        parts += [client, mask.key, committed.update.commitment, vector.blob.root]
    return hash_parts("flock/zk/verdict", context, *parts)


def _get_masks(state: StateView, alliance: Alliance) -> dict[bytes, Mask]:
    masks = {client: get_mask(state, alliance, client) for client in list_clients(state, alliance)}
    return {client: mask for client, mask in masks.items() if mask is not None}


def _recover_seed(masks: Mapping[bytes, Mask], client: bytes, peer: bytes, context: bytes) -> bytes:
    own, other = masks[client], masks[peer]
    if own.secret is not None:
        return derive_seed(own.secret, other.key, clients=(client, peer), context=context)
    assert other.secret is not None, "a pair that showed no secret"
    return derive_seed(other.secret, own.key, clients=(client, peer), context=context)
