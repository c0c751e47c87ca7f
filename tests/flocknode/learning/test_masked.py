"""The jobs of masked rounds with real commitments: the sum comes out, no update does, and who lies is named."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from flocknode.learning.masked import add_vectors, find_liars, mask_update
from flocknode.masked_jobs import AddMasked, BaredVector, FindLiars, MaskUpdate, SharedSeed
from protocol.zk.commitment import aggregate_bytes
from protocol.zk.group import ORDER
from protocol.zk.mask_keys import derive_seeds, mask_public_key
from protocol.zk.masking import Masked, decode_masked, encode_masked
from protocol.zk.opening import add_openings, decode_aggregate, encode_opening
from protocol.zk.statement import context_digest
from tests.zk_round import PARAMETERS, VALUES, filled, play

CLIENTS = 3
ROUND = play(CLIENTS)
KEYS = ROUND.context.keys
SECRETS = [filled(f"mask {index}") for index in range(CLIENTS)]
PUBLIC = dict(zip(KEYS, map(mask_public_key, SECRETS), strict=True))


def _ignore(done, total, loss=None):
    """Take a progress report; nobody waits."""
    return False


def seeds_of(index):
    """Return what a client shares with the others."""
    peers = {peer: public for peer, public in PUBLIC.items() if peer != KEYS[index]}
    seeds = derive_seeds(SECRETS[index], client=KEYS[index], peers=peers, context=context_digest(ROUND.context))
    return tuple(SharedSeed(peer, seed) for peer, seed in seeds.items())


@dataclass
class Shared:
    """What the clients wrote: a secret opening and a vector each."""

    folder: Path

    def opening(self, index):
        return self.folder / f"opening-{index}"

    def vector(self, index):
        return self.folder / f"vector-{index}"

    def mask(self, index):
        """Return the job of a client."""
        where = (str(self.opening(index)), seeds_of(index), str(self.vector(index)))
        return MaskUpdate(PARAMETERS, VALUES, KEYS[index], ROUND.weights[index], *where)

    def add(self):
        """Return the job of the aggregator, and of every voter when the sum is disputed."""
        vectors = tuple(str(self.vector(index)) for index in range(CLIENTS))
        return AddMasked(ROUND.statement, vectors, filled("own"), str(self.folder / "sum"))

    def find(self):
        """Return the job that looks for liars, all masks being open."""
        vectors = tuple(
            BaredVector(key, update.commitment, ROUND.weights[index], str(self.vector(index)), seeds_of(index))
            for index, (key, update) in enumerate(zip(KEYS, ROUND.updates, strict=True))
        )
        return FindLiars(PARAMETERS, VALUES, vectors, filled("public"))


@pytest.fixture
def shared(tmp_path):
    """Three clients that have shared their masked updates."""
    shared = Shared(tmp_path)
    for index, opening in enumerate(ROUND.openings):
        shared.opening(index).write_bytes(encode_opening(opening))
        assert mask_update(shared.mask(index), _ignore).masks == CLIENTS - 1
    return shared


def test_the_sum_of_vectors_opens_and_no_vector_shows_an_update(shared):
    """The written sum is that of the updates; no value and no blinding of an update stands in its vector."""
    assert add_vectors(shared.add(), _ignore).refusal is None
    total = decode_aggregate(PARAMETERS, VALUES, (shared.folder / "sum").read_bytes())
    expected = add_openings(ROUND.openings, ROUND.weights)
    assert (total.values.tolist(), total.blindings) == (expected.values.tolist(), expected.blindings)
    for index, opening in enumerate(ROUND.openings):
        data = shared.vector(index).read_bytes()
        assert len(data) == aggregate_bytes(PARAMETERS, VALUES)
        vector = decode_masked(PARAMETERS, VALUES, data)
        weighted = opening.values.astype(np.int64) * ROUND.weights[index]
        assert not np.any(vector.values.view(np.int64) == weighted)
        assert set(vector.blindings).isdisjoint(weight * one % ORDER for weight in (1, 4) for one in opening.blindings)
    assert find_liars(shared.find(), _ignore).refused == ()


def test_a_vector_is_masked_the_same_again(shared):
    """A step repeated after a crash shares the same bytes."""
    before = shared.vector(0).read_bytes()
    shared.vector(0).unlink()
    mask_update(shared.mask(0), _ignore)
    assert shared.vector(0).read_bytes() == before


@pytest.mark.parametrize("liar", range(CLIENTS))
def test_who_shares_another_vector_spoils_the_sum_and_is_found(shared, liar):
    """One value off by one: there is no sum, nothing is written, and the liar alone is named."""
    path = shared.vector(liar)
    honest = decode_masked(PARAMETERS, VALUES, path.read_bytes())
    values = honest.values.copy()
    values[11] += np.uint64(1)
    path.write_bytes(encode_masked(Masked(values, honest.blindings)))
    assert add_vectors(shared.add(), _ignore).refusal == "the aggregate does not open the product that is on the log"
    assert not (shared.folder / "sum").exists()
    (refused,) = find_liars(shared.find(), _ignore).refused
    assert (refused.index, refused.reason) == (liar, "its masked update is not the one that it committed to")


def test_bytes_that_are_no_vector_are_a_lie(shared):
    """A blinding of r, as the ledger cannot see: the sum is refused with the reason, and its client named with it."""
    path = shared.vector(1)
    path.write_bytes(path.read_bytes()[:-32] + ORDER.to_bytes(32, "big"))
    refusal = add_vectors(shared.add(), _ignore).refusal
    (refused,) = find_liars(shared.find(), _ignore).refused
    assert (refused.index, refused.reason) == (1, refusal)
