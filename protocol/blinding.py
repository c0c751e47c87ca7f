"""The byte strings that keep an Arena epoch and an alliance's votes blind: what proofs and commitments are made over.

Rules check them and participants make them; both call these functions, so that there is one spelling. Source: white
paper IV.B, V and VI.E, with the protocol that makes it true in the design's page on anonymity.
"""

from protocol.blobs import BlobId
from protocol.codec import encode
from protocol.crypto import hash_parts, integer_bytes, join_parts
from protocol.transactions import ScoreEntry


def join_alpha(chain: bytes, task: int, account: bytes) -> bytes:
    """Return the VRF input that proves, at joining, that the account owns its key; never an epoch's input."""
    return join_parts("flock/alpha/join", (chain, integer_bytes(task), account))


def submit_alpha(chain: bytes, task: int, epoch: int) -> bytes:
    """Return the VRF input whose output is a trainer's pseudonym for one epoch."""
    return join_parts("flock/alpha/submit", (chain, integer_bytes(task), integer_bytes(epoch)))


def submission_binding(
    chain: bytes, task: int, epoch: int, *, ring: bytes, tag: bytes, blob: BlobId, key_commitment: bytes
) -> bytes:
    """Return what a ring proof binds itself to: everything that the `Submit` says."""
    content = encode((task, epoch, ring, tag, blob, key_commitment))
    return hash_parts("flock/submit", chain, content)


def key_commitment(chain: bytes, task: int, epoch: int, tag: bytes, key: bytes) -> bytes:
    """Return the commitment to a blob's key. Bound to the tag: nobody can enter a stranger's ciphertext as his own."""
    return hash_parts("flock/open", chain, integer_bytes(task), integer_bytes(epoch), tag, key)


def claim_binding(account: bytes, tag: bytes) -> bytes:
    """Return what the plain proof of a claim binds itself to."""
    return join_parts("flock/claim", (account, tag))


def score_commitment(
    chain: bytes, task: int, epoch: int, account: bytes, salt: bytes, entries: tuple[ScoreEntry, ...]
) -> bytes:
    """Return a validator's commitment. It names its author, so that copying another's hash is useless."""
    return hash_parts("flock/scores", chain, integer_bytes(task), integer_bytes(epoch), account, salt, encode(entries))


def vote_commitment(
    chain: bytes,
    alliance: int,
    round: int,
    account: bytes,
    salt: bytes,
    *,
    best: int,
    scores: tuple[int | None, ...],
    aggregate: BlobId | None,
) -> bytes:
    """Return an alliance voter's commitment to what its `RevealVote` will say; it names its author as well."""
    where = (chain, integer_bytes(alliance), integer_bytes(round))
    return hash_parts("flock/vote/alliance", *where, account, salt, encode((best, scores, aggregate)))


def dataset_key_hash(key: bytes) -> bytes:
    """Return what a task names a dataset's key by."""
    return hash_parts("flock/dataset/key", key)


def beacon_alpha(chain: bytes, height: int, beacon: bytes) -> bytes:
    """Return the VRF input of a block's proposer: neither round nor content, so that it cannot be ground."""
    return join_parts("flock/alpha/beacon", (chain, integer_bytes(height), beacon))


def next_beacon(beacon: bytes, output: bytes) -> bytes:
    """Return the beacon after a block whose proposer's VRF gave `output`."""
    return hash_parts("flock/beacon", beacon, output)
