"""The jobs of private rounds with real commitments and proofs: what the log would see verifies, what lies is named."""

import stat
from dataclasses import dataclass

import numpy as np
import pytest
from msgspec.structs import replace

from flocknode.learning.aggregate import fedavg
from flocknode.learning.errors import UnusableFile
from flocknode.learning.families import build_model
from flocknode.learning.fixed_point import MAX_MAGNITUDE, load_fixed, save_fixed
from flocknode.learning.hidden import check_reveals, consult_sum, derive_model, hide_update, prove_sum
from flocknode.learning.weights import get_module_shapes
from flocknode.private_jobs import CheckReveals, ConsultSum, HideUpdate, ProveSum, Revealed
from protocol.crypto import public_key
from protocol.errors import InvalidProof
from protocol.models import linear_model
from protocol.zk.aggregation import Aggregation, aggregate_digest, make_statement, verify_aggregation
from protocol.zk.knowledge import CommittedUpdate, verify_committed_update
from protocol.zk.opening import Aggregate
from protocol.zk.statement import sign_commitment, sign_product
from tests.zk_round import AGGREGATOR, PARAMETERS, client_seed, filled, make_context

MODEL = linear_model(inputs=9, outputs=2)
SHAPES = get_module_shapes(build_model(MODEL))
VALUES, CLIENTS = 20, 3
WEIGHTS = (5, 2, 4)
CONTEXT = make_context(CLIENTS, values=VALUES)


def _ignore(done, total, loss=None):
    """Take a progress report; nobody waits."""
    return False


@dataclass
class Told:
    """What clients wrote and said."""

    folder: object
    updates: list
    statement: object

    def opening(self, index):
        return str(self.folder / f"opening-{index}")

    def prove(self):
        """Return the job of the aggregator."""
        openings = tuple(self.opening(index) for index in range(CLIENTS))
        return ProveSum(self.statement, openings, filled("mask of the sum"), str(self.folder / "sum"))

    def check(self, *, swapped=()):
        """Return the job that looks for liars; the openings of two clients may be swapped."""
        order = list(range(CLIENTS))
        for one, other in [swapped] if swapped else []:
            order[one], order[other] = order[other], order[one]
        reveals = tuple(
            Revealed(update.commitment, self.opening(order[index])) for index, update in enumerate(self.updates)
        )
        return CheckReveals(PARAMETERS, VALUES, reveals, filled("own"))

    def consult(self, product):
        """Return the job of the next cohort."""
        digest = aggregate_digest(CONTEXT, product)
        files = (str(self.folder / "sum"), filled("own"), str(self.folder / "model"))
        return ConsultSum(CONTEXT, MODEL, digest, WEIGHTS, product, *files)


def vector(index):
    """Return an update that a number determines, both extremes in it."""
    values = np.random.default_rng(index).integers(-MAX_MAGNITUDE, MAX_MAGNITUDE, VALUES, dtype=np.int32)
    values[index : index + 2] = (MAX_MAGNITUDE, -MAX_MAGNITUDE)
    return values


def hide_job(folder, index):
    """Return the job of a client."""
    key = public_key(client_seed(index))
    secrets = (filled(f"blinding {index}"), filled(f"masking {index}"))
    return HideUpdate(CONTEXT, key, MODEL, str(folder / f"update-{index}"), *secrets, str(folder / f"opening-{index}"))


@pytest.fixture
def told(tmp_path):
    """Three clients that have committed."""
    updates = []
    for index in range(CLIENTS):
        save_fixed(vector(index), SHAPES, tmp_path / f"update-{index}")
        hidden = hide_update(hide_job(tmp_path, index), _ignore)
        signature = sign_commitment(client_seed(index), CONTEXT, hidden.commitment)
        updates.append(CommittedUpdate(hidden.commitment, signature, hidden.knowledge))
    by_key = dict(zip(CONTEXT.keys, updates, strict=True))
    return Told(tmp_path, updates, make_statement(CONTEXT, by_key, dict(zip(CONTEXT.keys, WEIGHTS, strict=True))))


def test_a_hidden_update_is_known_and_its_opening_is_the_owners(told):
    """What the job returns is what replicas accept; the same job gives the same bytes; the file is private."""
    for key, update in zip(CONTEXT.keys, told.updates, strict=True):
        verify_committed_update(CONTEXT, key, update)
    path = told.folder / "opening-0"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    again = hide_update(hide_job(told.folder, 0), _ignore)
    assert (again.commitment, again.knowledge) == (told.updates[0].commitment, told.updates[0].knowledge)
    assert path.read_bytes() == before


def test_what_is_no_model_is_not_hidden(tmp_path):
    """A file of another shape is refused before anything is committed to."""
    (tmp_path / "update-0").write_bytes(bytes(100))
    with pytest.raises(UnusableFile):
        hide_update(hide_job(tmp_path, 0), _ignore)
    assert not (tmp_path / "opening-0").exists()


def test_a_sum_is_proven_and_gives_the_model_of_the_clear_mode(told):
    """Replicas accept the proof, the next cohort the sum, and the model is L1's, byte for byte."""
    proven = prove_sum(told.prove(), _ignore)
    key = public_key(AGGREGATOR)
    signature = sign_product(AGGREGATOR, CONTEXT, proven.product)
    verify_aggregation(told.statement, Aggregation(key, proven.product, signature, proven.proof))
    assert consult_sum(told.consult(proven.product), _ignore).refusal is None
    expected = told.folder / "expected"
    save_fixed(fedavg(np.stack([vector(index) for index in range(CLIENTS)]), WEIGHTS), SHAPES, expected)
    assert (told.folder / "model").read_bytes() == expected.read_bytes()
    assert np.array_equal(load_fixed(expected, SHAPES), load_fixed(told.folder / "model", SHAPES))


def test_liars_are_named_with_the_reason(told):
    """A swapped opening, and bytes that are none: the places, in order, and what is wrong with each."""
    assert check_reveals(told.check(), _ignore).refused == ()
    swapped = check_reveals(told.check(swapped=(0, 2)), _ignore).refused
    assert [(one.index, one.reason) for one in swapped] == [
        (0, "it does not open the commitment"),
        (2, "it does not open the commitment"),
    ]
    (told.folder / "opening-1").write_bytes(b"no opening")
    (refused,) = check_reveals(told.check(), _ignore).refused
    assert refused.index == 1
    assert refused.reason.startswith("an opening of 10 bytes")


@pytest.mark.parametrize("place", [0, -1])
def test_a_sum_that_is_not_the_proven_one_is_refused(told, place):
    """One value or one blinding changed: there is no model, and the reason is said."""
    proven = prove_sum(told.prove(), _ignore)
    path = told.folder / "sum"
    data = bytearray(path.read_bytes())
    data[7 if place == 0 else place] ^= 1
    path.write_bytes(data)
    refusal = consult_sum(told.consult(proven.product), _ignore).refusal
    assert refusal == "the aggregate does not open the product that is on the log"
    assert not (told.folder / "model").exists()
    other = replace(told.consult(proven.product), digest=filled("another"))
    assert consult_sum(other, _ignore).refusal == "the product is not the one whose digest the log has"


def test_a_sum_beyond_what_updates_hold_is_no_model():
    """-2^31 is no weight of a model, so a mean of it convicts whoever let it into the sum."""
    edge = np.array([7 * MAX_MAGNITUDE, -7 * MAX_MAGNITUDE], np.int64)
    assert derive_model(Aggregate(edge, ()), 7).tolist() == [MAX_MAGNITUDE, -MAX_MAGNITUDE]
    with pytest.raises(InvalidProof, match="updates add up to"):
        derive_model(Aggregate(edge - 7, ()), 7)
