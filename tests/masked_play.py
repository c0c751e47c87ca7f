"""An alliance that masks its updates, on the real ledger with real masks, sums and commitments of a tiny model."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from protocol.alliance_acts import (
    AccuseMasked,
    CommitUpdate,
    DisputeMasked,
    JudgeSum,
    OpenMask,
    PublishMasked,
    ShareMasked,
)
from protocol.alliance_settings import Privacy
from protocol.blobs import compute_blob_id
from protocol.rules.alliance.commitments import make_round_statement, weigh_clients
from protocol.rules.alliance.explaining import Kind, explain_closing, explain_round
from protocol.rules.alliance.masks import (
    derive_check,
    find_unopened,
    get_mask_keys,
    list_clients,
    recover_seeds,
    vector_bytes,
)
from protocol.rules.alliance.records import AlliancePhase, get_update
from protocol.rules.duties import get_duties
from protocol.zk.aggregation import compute_product
from protocol.zk.commitment import decode_commitment
from protocol.zk.mask_keys import derive_seeds, mask_public_key
from protocol.zk.masking import (
    Masked,
    add_masked,
    contradicts,
    decode_masked,
    encode_masked,
    mask_opening,
    open_masks,
)
from protocol.zk.opening import Aggregate, encode_opening, opens
from protocol.zk.statement import context_digest
from tests.ledger_driver import FML, Person, seed_of
from tests.ledger_invariants import expect_sound
from tests.private_play import PARAMS, PrivatePlay

# 5 % of 64 FML, and s_p of it.
ABSENCE, LOST = 64 * FML // 20, 8 * FML


class MaskedPlay(PrivatePlay):
    """A play whose proposers commit and share masked updates; everybody reads the blobs that were shared."""

    privacy = Privacy.MASKED

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.blobs: dict[bytes, bytes] = {}

    def duties(self, person: Person) -> list[object]:
        """Return what a person should do now."""
        return get_duties(self.ledger.state, person.address, lambda task, epoch: self.ledger.tag(person, task, epoch))

    # --- clients

    def secret(self, person: Person) -> bytes:
        """Return a client's secret of this attempt."""
        return seed_of("mask", person.name, self.round, self.round_record.attempt())

    def commit_update(self, person: Person) -> CommitUpdate:
        key = mask_public_key(self.secret(person))
        return replace(super().commit_update(person), mask_key=key)

    def weights(self) -> Mapping[bytes, int]:
        """Return the weights of all clients of this attempt."""
        clients = list_clients(self.ledger.state, self.record)
        return weigh_clients(self.ledger.state, self.record, clients)

    def vector(self, person: Person) -> Masked:
        """Return the masked update of a client."""
        peers = get_mask_keys(self.ledger.state, self.record)
        peers.pop(person.address, None)
        seeds = derive_seeds(
            self.secret(person), client=person.address, peers=peers, context=context_digest(self.context)
        )
        weight = self.weights().get(person.address, 1)
        return mask_opening(self.opening(person), weight=weight, key=person.address, seeds=seeds)

    def shared(self, person: Person, *, is_spoiled: bool = False) -> ShareMasked:
        """Return how a client shares its masked update; a spoiled one contradicts its commitment."""
        vector = self.vector(person)
        if is_spoiled:
            vector = vector._replace(values=vector.values + np.uint64(1))
        return ShareMasked(self.alliance, self.round, self.store(encode_masked(vector)))

    def store(self, data: bytes):
        """Keep a blob for all to read; return its name."""
        blob = compute_blob_id(data)
        self.blobs[blob.root] = data
        return blob

    def opened(self, person: Person) -> OpenMask:
        """Return how a client opens its masks."""
        return OpenMask(self.alliance, self.round, self.secret(person))

    # --- aggregators and voters

    def read(self, client: bytes) -> Masked:
        """Return the vector that a client shared."""
        update = get_update(self.ledger.state, self.alliance, self.round, client)
        assert update is not None
        assert update.blob.length == vector_bytes(self.ledger.before.params, self.record)
        return decode_masked(self.context.parameters, self.context.values, self.blobs[update.blob.root])

    def sum(self) -> Aggregate:
        """Return what the vectors of all clients add up to."""
        return add_masked([self.read(client) for client in self.round_record.frozen])

    def does_open(self) -> bool:
        """Return whether the sum opens the product of the commitments."""
        statement = make_round_statement(
            self.ledger.state, self.ledger.chain, self.ledger.before.params, self.record, self.round_record.frozen
        )
        product = decode_commitment(compute_product(statement), 1)
        return opens(self.context.parameters, [product], [self.sum()], randomness=seed_of("check"))

    def summed(self) -> PublishMasked:
        """Return the sum as it is published."""
        return PublishMasked(self.alliance, self.round, self.store(encode_opening(self.sum())))

    def liars(self) -> tuple[bytes, ...]:
        """Return who lied, as an honest voter finds it."""
        state, chain, params = self.ledger.state, self.ledger.chain, self.ledger.before.params
        silent = find_unopened(state, self.record)
        unknown = silent if len(silent) > 1 else ()
        check, weights = derive_check(state, chain, params, self.record), self.weights()
        statement = make_round_statement(state, chain, params, self.record, self.round_record.frozen)
        found = set(unknown)
        for part in statement.contributions:
            if part.key in unknown:
                continue
            seeds = recover_seeds(state, chain, params, self.record, part.key)
            weighted = open_masks(self.read(part.key), key=part.key, seeds=seeds)
            points = decode_commitment(part.commitment, 1)
            if contradicts(params.alliance.zk, points, weighted, weight=weights[part.key], randomness=check):
                found.add(part.key)
        return tuple(sorted(found))

    def accusing(self, liars: Sequence[bytes] | None = None) -> AccuseMasked:
        """Return a voter's verdict; the honest one where nothing else is said."""
        return AccuseMasked(self.alliance, self.round, self.liars() if liars is None else tuple(sorted(liars)))

    # --- step by step

    def seal(self, proposers: Sequence[Person] | None = None, *, spoiled: Collection[Person] = ()) -> "MaskedPlay":
        """Share masked updates, and go on; those of some contradict their commitments."""
        for person in self.proposers() if proposers is None else proposers:
            self.ledger.send(person, self.shared(person, is_spoiled=person in spoiled))
        self.end_step(AlliancePhase.SEAL)
        return self

    def publish(self, payload: PublishMasked | None = None) -> "MaskedPlay":
        """Put the sum on the log, and go on."""
        self.ledger.send(self.aggregator(), payload or self.summed())
        self.end_step(AlliancePhase.AGGREGATE)
        return self

    def dispute(self) -> "MaskedPlay":
        """Let the aggregator say that the sum does not open what it must, and go on."""
        self.ledger.send(self.aggregator(), DisputeMasked(self.alliance, self.round))
        self.end_step(AlliancePhase.AGGREGATE)
        return self

    def judge(self, words: Mapping[Person, bool] | None = None) -> "MaskedPlay":
        """Let voters say whether the sum opens what it must, honestly where nothing else is said, and go on."""
        for person, word in (dict.fromkeys(self.voters(), self.does_open()) if words is None else words).items():
            self.ledger.send(person, JudgeSum(self.alliance, self.round, word))
        self.end_step(AlliancePhase.DISPUTE)
        return self

    def unmask(self, clients: Sequence[Person] | None = None) -> "MaskedPlay":
        """Let clients open their masks, and go on."""
        for person in self.people_at(self.round_record.frozen) if clients is None else clients:
            self.ledger.send(person, self.opened(person))
        self.end_step(AlliancePhase.UNMASK)
        return self

    def accuse(self, verdicts: Mapping[Person, Sequence[bytes] | None] | None = None) -> "MaskedPlay":
        """Let voters name the liars, honestly where nothing else is said, and go on."""
        chosen = dict.fromkeys(self.voters()) if verdicts is None else verdicts
        for person, liars in chosen.items():
            self.ledger.send(person, self.accusing(liars))
        self.end_step(AlliancePhase.VERDICT)
        return self


def until_aggregation(*, spoiled: int = 0, **options) -> MaskedPlay:
    """Return a play in which the first aggregator may sum, and so many clients shared what they did not commit to."""
    play = MaskedPlay(**options).begin().train()
    return play.seal(spoiled=play.proposers()[:spoiled]).hold()


def losses(play: MaskedPlay, round: int = 0) -> dict[str, int]:
    """Return what everybody lost in a round, by name; who lost nothing is left out."""
    names = {person.address: person.name for person in play.participants}
    return {names[one.address]: one.slashed for one in play.result(round).settled if one.slashed}


def add_up(play: MaskedPlay, rounds: int = 1) -> set[Kind]:
    """Assert that the traces come to what everybody earned and lost; return their kinds."""
    traces = [trace for round in range(rounds) for trace in explain_round(play.ledger.state, PARAMS, 1, round)]
    if play.phase is AlliancePhase.FINISHED:
        traces += explain_closing(play.ledger.state, 1)
    for person in play.participants:
        own = [trace for trace in traces if trace.account == person.address]
        member = play.member(person)
        assert sum(trace.origins.total() for trace in own) == member.earned
        assert sum(trace.burned + trace.kept for trace in own) == member.slashed
    expect_sound(play.ledger.state)
    return {trace.kind for trace in traces}
