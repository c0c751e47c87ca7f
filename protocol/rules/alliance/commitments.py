"""Hidden updates on the log (white paper VI.H): what a round's proofs are about, built from the state alone.

Rules, clients, aggregators and voters call the same functions, so that a round has one context and one statement.
"""

from protocol.alliance_settings import Privacy
from protocol.blobs import BlobId
from protocol.crypto import integer_bytes
from protocol.errors import NotEligible
from protocol.formulas import alliance as formulas
from protocol.models import count_values
from protocol.params import Params
from protocol.rules.alliance.records import Alliance, get_participant, get_round
from protocol.rules.arena.records import get_submission, get_task
from protocol.state import Overlay, StateView, Table
from protocol.types import Address, Count, Digest, Record
from protocol.zk.aggregation import make_statement
from protocol.zk.knowledge import CommittedUpdate
from protocol.zk.parameters import MAX_WEIGHT
from protocol.zk.statement import RoundContext, Statement


class Committed(Record):
    """A proposer's commitment; None once its round is over, for it is large and nothing needs it any more."""

    update: CommittedUpdate | None


class Box(Record):
    """The key of a sealed blob, sealed to the aggregator whose turn it is."""

    sealed: bytes


class PublishedSum(Record):
    """A sum that was proven: its blob, H(Enc(w)), the hash of the proof, whose updates are in it, and the weights a_i.

    The weights stay, for who leaves an alliance later takes along what they come from.
    Where updates are masked there is no proof but the blob itself, which opens Enc(w).
    """

    blob: BlobId
    digest: Digest
    proof: Digest | None
    clients: tuple[Address, ...]
    weights: tuple[Count, ...]

    def weighed(self) -> dict[bytes, int]:
        """Return a_i by client."""
        return dict(zip(self.clients, self.weights, strict=True))


class Published(Record):
    """What an aggregator published, whose turn it was: the sum, or only why there is none.

    `liars` are those whose blob was shown not to open their commitment, as the aggregator says; the voters judge that.
    `unreadable` are those whose box did not open, as nobody else can see.
    """

    aggregator: Address
    proven: PublishedSum | None
    liars: tuple[Address, ...]
    unreadable: tuple[Address, ...]


# Keys: alliance, round, then a proposer; alliance, round.
COMMITTED = Table(b"Fk", Committed)
BOXES = Table(b"Fx", Box)
PUBLISHED = Table(b"Fe", Published)


def is_private(alliance: Alliance) -> bool:
    """Return whether the alliance hides its updates."""
    return alliance.spec.settings.privacy is not Privacy.CLEAR


def require_privacy(alliance: Alliance, *, is_hidden: bool) -> None:
    """Return if the alliance hides its updates, or does not, as an act needs it; raises `NotEligible`."""
    if is_private(alliance) != is_hidden:
        raise NotEligible(
            f"alliance {alliance.id} {'shows' if is_hidden else 'hides'} its updates: they are proposed "
            f"{'as they are' if is_hidden else 'as commitments'}",
            alliance=alliance.id,
        )


def is_masked(alliance: Alliance) -> bool:
    """Return whether nobody sees a single update of the alliance, not even an aggregator."""
    return alliance.spec.settings.privacy is Privacy.MASKED


def require_masking(alliance: Alliance, *, is_needed: bool) -> None:
    """Return if the alliance masks its updates, or seals them, as an act needs it; raises `NotEligible`."""
    if is_masked(alliance) != is_needed:
        raise NotEligible(
            f"alliance {alliance.id} {'seals' if is_needed else 'masks'} its updates: its aggregators "
            f"{'open them' if is_needed else 'see their sum alone'}",
            alliance=alliance.id,
        )


def get_committed(state: StateView, alliance: Alliance, proposer: bytes) -> Committed | None:
    """Return a proposer's commitment of the current round, if it made one."""
    return COMMITTED.get(state, integer_bytes(alliance.id), integer_bytes(alliance.round), proposer)


def get_box(state: StateView, alliance: Alliance, proposer: bytes) -> Box | None:
    """Return the key that a proposer sealed to the aggregator whose turn it is, if it has."""
    return BOXES.get(state, integer_bytes(alliance.id), integer_bytes(alliance.round), proposer)


def get_published(state: StateView, alliance: Alliance) -> Published | None:
    """Return what the aggregator of the current round published, if anything."""
    return PUBLISHED.get(state, integer_bytes(alliance.id), integer_bytes(alliance.round))


def get_latest_model(state: StateView, alliance: Alliance) -> BlobId:
    """Return the blob that the current round trains on: the last accepted model, or the start."""
    if alliance.latest is not None:
        return alliance.latest.model
    if alliance.spec.base_task is None:
        assert alliance.spec.fresh_model is not None, "an alliance that starts from nothing"
        return alliance.spec.fresh_model
    assert alliance.winner is not None, "a base task without a winner"
    task = get_task(state, alliance.spec.base_task)
    submission = get_submission(state, task.id, task.epoch, alliance.winner)
    assert submission is not None, "a winner that entered nothing"
    return submission.blob


def make_round_context(state: StateView, chain: bytes, params: Params, alliance: Alliance) -> RoundContext:
    """Return what binds all proofs to the current round."""
    current, values = get_round(state, alliance.id, alliance.round), count_values(alliance.spec.model)
    assert values is not None, "hidden updates of a model of unknown size"
    assert current.beacon is not None, "a round without a draw"
    return RoundContext(
        chain=chain,
        alliance=alliance.id,
        round=alliance.round,
        model=get_latest_model(state, alliance),
        values=values,
        beacon=current.beacon,
        keys=tuple(one.address for one in current.proposers),
        parameters=params.alliance.zk,
    )


def make_round_statement(
    state: StateView, chain: bytes, params: Params, alliance: Alliance, clients: tuple[bytes, ...]
) -> Statement:
    """Return what the aggregator must prove: that its product is the weighted sum of these clients' commitments."""
    updates = {}
    for client in clients:
        committed = get_committed(state, alliance, client)
        assert committed is not None, "a client that committed to nothing"
        assert committed.update is not None, "a round that is over"
        updates[client] = committed.update
    context = make_round_context(state, chain, params, alliance)
    return make_statement(context, updates, weigh_clients(state, alliance, clients))


def weigh_clients(state: StateView, alliance: Alliance, clients: tuple[bytes, ...]) -> dict[bytes, int]:
    """Return a_i, the weight of each client's update in the sum (L1) of the running round, small enough for exact sums.

    Masked updates have the weights that all drawn proposers together would give them, whoever drops out. Else a round
    that runs again would be another weighted sum of the same updates, and who dropped out, and by its own vector knows
    the first sum as well, could solve both for them.
    """
    weighed = clients
    if is_masked(alliance):
        current = get_round(state, alliance.id, alliance.round)
        weighed = tuple(one.address for one in (*current.proposers, *current.dropped))
    rows = {}
    for client in weighed:
        participant = get_participant(state, alliance.id, client)
        assert participant is not None, "a client that takes no part"
        rows[client] = min(participant.train_rows, MAX_WEIGHT)
    weights = formulas.aggregation_weights(rows)
    return {client: weights[client] for client in sorted(clients)}


def prune_commitments(state: Overlay, alliance: Alliance) -> None:
    """Drop the commitments and boxes of a round that is over; who committed stays on record."""
    key = (integer_bytes(alliance.id), integer_bytes(alliance.round))
    for proposer, _ in list(COMMITTED.scan(state, *key)):
        COMMITTED.put(state, Committed(None), *key, proposer)
    drop_boxes(state, alliance)


def drop_boxes(state: Overlay, alliance: Alliance) -> None:
    """Drop the keys that were sealed to an aggregator whose turn is over."""
    key = (integer_bytes(alliance.id), integer_bytes(alliance.round))
    for proposer, _ in list(BOXES.scan(state, *key)):
        BOXES.delete(state, *key, proposer)
