"""An alliance that hides its updates, on the real ledger with real commitments and proofs of a tiny model."""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from protocol.alliance_acts import Accusation, CommitUpdate, ProvenSum, PublishAggregate, RevealUpdate
from protocol.alliance_settings import MIN_PRIVATE_PROPOSERS, Attribution, Privacy
from protocol.blobs import BlobId
from protocol.crypto import integer_bytes, seal_key
from protocol.models import MetricSpec, linear_model
from protocol.params import DEVNET, Params
from protocol.rules.alliance.commitments import (
    PUBLISHED,
    Published,
    make_round_context,
    make_round_statement,
)
from protocol.rules.alliance.records import AlliancePhase
from protocol.zk.aggregation import Aggregation, compute_product
from protocol.zk.knowledge import CommittedUpdate
from protocol.zk.opening import Opening, blind, commit
from protocol.zk.parameters import make_parameters
from protocol.zk.proving import prove_aggregation, prove_knowledge
from protocol.zk.statement import RoundContext, sign_commitment, sign_product
from tests.alliance_play import AlliancePlay, make_spec
from tests.ledger_driver import Person, seed_of

# Six numbers fit into one row of seven.
ZK = make_parameters(width=7)
PARAMS = replace(DEVNET, alliance=replace(DEVNET.alliance, zk=ZK))
MODEL = linear_model(inputs=2, outputs=2)


class PrivatePlay(AlliancePlay):
    """An alliance play whose proposers commit, seal and are summed."""

    privacy = Privacy.ZK

    def __init__(self, *, participants: int = 8, params: Params = PARAMS, rounds: int = 2, **options) -> None:
        settings = replace(
            params.alliance.settings, rounds=rounds, privacy=self.privacy, attribution=Attribution.AGGREGATE
        )
        metric = MetricSpec("r2", True, 0, 1_000_000)
        spec = make_spec(settings, model=MODEL, metric=metric, participants=participants)
        super().__init__(participants=participants, params=params, spec=spec, **options)

    # --- what is there

    @property
    def context(self) -> RoundContext:
        return make_round_context(self.ledger.state, self.ledger.chain, self.ledger.before.params, self.record)

    @property
    def published(self) -> Published:
        return self.published_of(self.round)

    def published_of(self, round: int) -> Published:
        """Return the aggregate of any round."""
        found = PUBLISHED.get(self.ledger.state, integer_bytes(self.alliance), integer_bytes(round))
        assert found is not None
        return found

    def aggregator(self) -> Person:
        (person,) = self.people_at([self.round_record.aggregator()])
        return person

    def aggregators(self) -> list[Person]:
        """Return all that may have a turn, in their order."""
        return [self.people_at([one.address])[0] for one in self.round_record.aggregators]

    def opening(self, person: Person) -> Opening:
        """Return a proposer's update with its blindings."""
        values = np.frombuffer(seed_of("values", person.name, self.round)[:24], np.int32).copy() // 2
        randomness = seed_of("blinding", person.name, self.round)
        return blind(self.context, person.address, values, randomness=randomness)

    def committed(self, person: Person, opening: Opening | None = None) -> CommittedUpdate:
        """Return what a proposer puts on the log."""
        opening, context = opening or self.opening(person), self.context
        commitment = commit(context.parameters, opening)
        proof = prove_knowledge(context, person.address, commitment, opening, randomness=seed_of("u", person.name))
        return CommittedUpdate(commitment, sign_commitment(person.seed, context, commitment), proof)

    def commit_update(self, person: Person) -> CommitUpdate:
        """Return how a proposer binds itself to its update."""
        return CommitUpdate(self.alliance, self.round, self.committed(person), None)

    def key(self, person: Person) -> bytes:
        """Return the key of a proposer's sealed blob, another for each aggregator."""
        return seed_of("blob key", person.name, self.round, self.round_record.turn)

    def revealed(self, person: Person) -> RevealUpdate:
        """Return how a proposer hands its update to the aggregator whose turn it is."""
        aggregator = self.round_record.aggregator()
        blob = BlobId(seed_of("sealed", person.name, self.round, self.round_record.turn), 2_000)
        return RevealUpdate(self.alliance, self.round, aggregator, blob, seal_key(self.key(person), aggregator))

    def aggregate(self, *, accused: Mapping[Person, bytes | None] | None = None) -> PublishAggregate:
        """Return the proven sum of all frozen updates but those of the accused; none of too few."""
        accused = accused or {}
        named = {person.address: key for person, key in accused.items()}
        clients = tuple(address for address in self.round_record.frozen if address not in named)
        proven = self.prove(clients) if len(clients) >= MIN_PRIVATE_PROPOSERS else None
        accusations = tuple(Accusation(address, named[address]) for address in sorted(named))
        return PublishAggregate(self.alliance, self.round, proven, accusations)

    def prove(self, clients: tuple[bytes, ...]) -> ProvenSum:
        """Return the sum of some frozen updates, proven by whose turn it is."""
        aggregator = self.aggregator()
        statement = make_round_statement(
            self.ledger.state, self.ledger.chain, self.ledger.before.params, self.record, clients
        )
        product = compute_product(statement)
        openings = [self.opening(self.people_at([client])[0]) for client in clients]
        proof = prove_aggregation(statement, product, openings, randomness=seed_of("proof", self.round))
        signature = sign_product(aggregator.seed, statement.context, product)
        blob = BlobId(seed_of("sum", self.round), 2_000)
        return ProvenSum(blob, Aggregation(aggregator.address, product, signature, proof))

    # --- step by step

    def train(self, proposers: Sequence[Person] | None = None) -> "PrivatePlay":
        """Commit to updates, and go on to what follows."""
        for person in self.proposers() if proposers is None else proposers:
            self.ledger.send(person, self.commit_update(person))
        self.end_step(AlliancePhase.TRAIN)
        return self

    def seal(self, proposers: Sequence[Person] | None = None) -> "PrivatePlay":
        """Seal updates to the aggregator whose turn it is, and go on."""
        for person in self.proposers() if proposers is None else proposers:
            self.ledger.send(person, self.revealed(person))
        self.end_step(AlliancePhase.SEAL)
        return self

    def publish(self, payload: PublishAggregate | None = None) -> "PrivatePlay":
        """Put the proven sum on the log, and go on."""
        self.ledger.send(self.aggregator(), payload or self.aggregate())
        self.end_step(AlliancePhase.AGGREGATE)
        return self

    def fail(self) -> "PrivatePlay":
        """Let the aggregator's time pass."""
        self.end_step(AlliancePhase.AGGREGATE)
        return self

    def run_round(self, ballots=None) -> "PrivatePlay":
        """Let everybody do its part in one round."""
        self.draw()
        self.train().seal().hold()
        self.publish().commit(ballots).reveal()
        return self
