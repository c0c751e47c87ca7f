"""One alliance with its cast on the real ledger, led step by step: whoever is named acts, the others stay away."""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from protocol.alliance_acts import (
    AllianceSpec,
    CommitVote,
    ConfirmAggregate,
    CreateAlliance,
    HoldUpdates,
    JoinAlliance,
    LocalTraining,
    ProposeUpdate,
    RevealVote,
    VerifyAlliance,
)
from protocol.alliance_settings import AllianceSettings, Attribution, RewardRule
from protocol.blinding import vote_commitment
from protocol.blobs import BlobId
from protocol.blocks import Receipt
from protocol.crypto import integer_bytes
from protocol.models import mlp_model
from protocol.params import DEVNET, Params
from protocol.rules import purses
from protocol.rules.alliance.records import (
    Alliance,
    AlliancePhase,
    AllianceRound,
    Ballot,
    Participant,
    get_alliance,
    get_counter,
    get_participant,
    get_round,
    get_update,
)
from protocol.rules.alliance.results import CLOSINGS, ROUND_RESULTS, Closing, RoundResult, Settled
from protocol.transactions import Payload
from tests.arena_play import Play
from tests.ledger_driver import ACCURACY, FML, Ledger, Person, seed_of

# Longer than nothing, shorter than the gap that counts as an outage.
STEP_MS = 7_000
TRAINING = LocalTraining(passes=1, learning_rate_millionths=100_000, batch_size=32)
FRESH = BlobId(seed_of("fresh model"), 2_000)
# What a voter finds where nothing else is said.
BEST = GOOD = 800_000
BAD = 300_000


def make_spec(settings: AllianceSettings, **changes) -> AllianceSpec:
    """Return a spec that a chain with the constants of the devnet takes."""
    spec = AllianceSpec(
        name="hospitals",
        model=mlp_model(64, 8, 10),
        metric=ACCURACY,
        base_task=None,
        fresh_model=FRESH,
        training=TRAINING,
        joining_stake=64 * FML,
        min_test_rows=20,
        participants=5,
        settings=settings,
    )
    return replace(spec, **changes)


def verified(*, participants: int = 5, number: int = 1, ledger: Ledger | None = None, **changes) -> "AlliancePlay":
    """Return a verified alliance that starts from the winner of task 1; a chain of its own where none is given."""
    people = [Person(f"participant {place}") for place in range(participants)]
    ledger = ledger or run_task(people, params=changes.pop("params", DEVNET))
    settings = ledger.before.params.alliance.settings
    spec = make_spec(settings, base_task=1, fresh_model=None, participants=participants, **changes)
    play = AlliancePlay(participants=participants, escrow=0, spec=spec, ledger=ledger)
    assert play.send(play.governor, VerifyAlliance(number)).error == 0
    return play


def run_task(people: Sequence[Person], *, params: Params) -> Ledger:
    """Return a governed chain on which task 1 is finished."""
    return Play(is_governed=True, bystanders=people, params=params).begin().run_epoch().run_epoch().ledger


def update_of(person: Person, round: int) -> BlobId:
    """Return the blob of what a proposer trains."""
    return BlobId(seed_of("update", person.name, round), 2_000)


def aggregate_of(round: int) -> BlobId:
    """Return the blob of what all honest voters aggregate."""
    return BlobId(seed_of("aggregate", round), 2_000)


class AlliancePlay:
    """An alliance that is open for joining; the people are replicas too, and `stranger` takes no part."""

    def __init__(
        self,
        *,
        participants: int = 5,
        escrow: int = 1_000 * FML,
        params: Params = DEVNET,
        balance: int = 10_000 * FML,
        is_governed: bool = False,
        spec: AllianceSpec | None = None,
        bystanders: Sequence[Person] = (),
        ledger: Ledger | None = None,
        **settings,
    ) -> None:
        self.creator, self.stranger = Person("creator"), Person("stranger")
        self.participants = [Person(f"participant {number}") for number in range(participants)]
        self.governor = Person("governor")
        people = (
            self.creator,
            self.stranger,
            *self.participants,
            *bystanders,
            *([self.governor] if is_governed else []),
        )
        governance = self.governor if is_governed else None
        self.ledger = ledger or Ledger(*people, balance=balance, params=params, governance=governance)
        chosen = replace(params.alliance.settings, **({"rounds": 2} | settings))
        self.spec = spec or make_spec(chosen, participants=participants)
        self.alliance = get_counter(self.ledger.state).created + 1
        receipt = self.send(self.creator, CreateAlliance(self.spec, 100 * FML, escrow))
        assert receipt.error == 0, receipt

    # --- what is there

    @property
    def record(self) -> Alliance:
        return get_alliance(self.ledger.state, self.alliance)

    @property
    def phase(self) -> AlliancePhase:
        return self.record.phase

    @property
    def round(self) -> int:
        return self.record.round

    @property
    def place(self) -> tuple[int, AlliancePhase, int]:
        """Return what is another in every phase, also where one follows itself."""
        return self.round, self.phase, self.record.phase_height

    @property
    def round_record(self) -> AllianceRound:
        return get_round(self.ledger.state, self.alliance, self.round)

    def result(self, round: int) -> RoundResult:
        found = ROUND_RESULTS.get(self.ledger.state, integer_bytes(self.alliance), integer_bytes(round))
        assert found is not None
        return found

    def settled(self, round: int, person: Person) -> Settled:
        """Return what a selected participant earned and lost."""
        return next(one for one in self.result(round).settled if one.address == person.address)

    def closing(self) -> Closing:
        found = CLOSINGS.get(self.ledger.state, integer_bytes(self.alliance))
        assert found is not None
        return found

    def member(self, person: Person) -> Participant | None:
        return get_participant(self.ledger.state, self.alliance, person.address)

    def units(self, purse: bytes) -> int:
        return purses.get_units(self.ledger.state, purse)

    def balance(self, person: Person) -> int:
        return self.units(purses.balance_of(person.address))

    def stake(self, person: Person) -> int:
        return self.units(purses.alliance_stake_of(self.alliance, person.address))

    def pool(self) -> int:
        return self.units(purses.pool_of(self.alliance))

    def unbonding(self, person: Person) -> int:
        """Return what waits for the end of its unbonding, whenever that is."""
        state = self.ledger.state
        return sum(units for purse, units in purses.scan_purses(state, b"u") if purse[-32:] == person.address)

    def people_at(self, addresses: Sequence[bytes]) -> list[Person]:
        return [person for person in self.ledger.people if person.address in addresses]

    def proposers(self) -> list[Person]:
        return self.people_at([one.address for one in self.round_record.proposers])

    def voters(self) -> list[Person]:
        return self.people_at([one.address for one in self.round_record.voters])

    def idle(self) -> list[Person]:
        """Return the participants without a role in the current round."""
        return [person for person in self.participants if person.address not in self.round_record.stakes()]

    def by_address(self, people: Sequence[Person]) -> list[Person]:
        return sorted(people, key=lambda person: person.address)

    # --- single acts

    def send(self, person: Person, payload: Payload) -> Receipt:
        """Put one transaction into a block of its own."""
        self.ledger.send(person, payload)
        (receipt,) = self.ledger.block()
        return receipt

    def wait(self, *phases: AlliancePhase) -> None:
        """Make blocks until the alliance is in one of the phases."""
        self.ledger.run_until(lambda: self.phase in phases, after_ms=STEP_MS, limit=200)

    def leave_phase(self) -> None:
        """Make blocks until the phase that it is in now is over."""
        here = self.place
        self.ledger.run_until(lambda: self.place != here, after_ms=STEP_MS, limit=200)

    def end_step(self, phase: AlliancePhase) -> "AlliancePlay":
        """Let what is queued into a block, and wait for the end of a phase if that did not bring it."""
        round = self.round
        self.ledger.block()
        if (self.round, self.phase) == (round, phase):
            self.leave_phase()
        return self

    def join(self, person: Person, *, train_rows: int = 100, test_rows: int = 20) -> None:
        """Queue a join."""
        self.ledger.send(person, JoinAlliance(self.alliance, train_rows, test_rows))

    def ballot(self, *, good: Sequence[Person] | None = None, best: int = BEST, aggregate: BlobId | None = None):
        """Return a voter's scores: the updates of `good` are good, or the aggregate is; all are if none is named."""
        if self.spec.settings.attribution is Attribution.AGGREGATE:
            is_good = good is None or bool(good)
            return Ballot(best, (GOOD if is_good else BAD,), aggregate or aggregate_of(self.round))
        names = None if good is None else [person.address for person in good]
        scores = (GOOD if names is None or address in names else BAD for address in self.round_record.frozen)
        return Ballot(best, tuple(scores), None)

    def salt(self, person: Person) -> bytes:
        return seed_of("salt", person.name, self.round)

    def send_commitment(self, person: Person, ballot: Ballot) -> None:
        """Queue a voter's commitment."""
        commitment = vote_commitment(
            self.ledger.chain,
            self.alliance,
            self.round,
            person.address,
            self.salt(person),
            best=ballot.best,
            scores=ballot.scores,
            aggregate=ballot.aggregate,
        )
        self.ledger.send(person, CommitVote(self.alliance, self.round, commitment))

    def reveal_of(self, person: Person, ballot: Ballot) -> RevealVote:
        """Return a voter's reveal."""
        salt = self.salt(person)
        return RevealVote(self.alliance, self.round, salt, ballot.best, ballot.scores, ballot.aggregate)

    def confirmation(self, *, score: int = GOOD, model: BlobId | None = None, gains: Sequence[int] | None = None):
        """Return a voter's aggregate of the accepted updates."""
        accepted = self.round_record.accepted
        need = len(accepted) if self.spec.settings.reward is RewardRule.IMPACT else 0
        chosen = tuple([10_000] * need if gains is None else gains)
        return ConfirmAggregate(self.alliance, self.round, model or aggregate_of(self.round), score, chosen)

    # --- step by step

    def begin(self, participants: Sequence[Person] | None = None) -> "AlliancePlay":
        """Join, and draw the first round's roles."""
        for person in self.participants if participants is None else participants:
            self.join(person)
        self.ledger.block()
        self.wait(AlliancePhase.TRAIN, AlliancePhase.EXPIRED)
        return self

    def draw(self) -> "AlliancePlay":
        """Go on until roles are drawn."""
        self.wait(AlliancePhase.TRAIN)
        return self

    def train(self, proposers: Sequence[Person] | None = None) -> "AlliancePlay":
        """Propose updates, and go on to what follows."""
        for person in self.proposers() if proposers is None else proposers:
            self.ledger.send(person, ProposeUpdate(self.alliance, self.round, update_of(person, self.round)))
        return self.end_step(AlliancePhase.TRAIN)

    def hold(self, held: Mapping[Person, Sequence[Person]] | None = None) -> "AlliancePlay":
        """Say who holds which updates, and go on."""
        proposed = [one for one in self.proposers() if self.has_proposed(one)]
        for person, others in (dict.fromkeys(self.voters(), proposed) if held is None else held).items():
            addresses = tuple(sorted(other.address for other in others))
            self.ledger.send(person, HoldUpdates(self.alliance, self.round, addresses))
        return self.end_step(AlliancePhase.HOLD)

    def has_proposed(self, person: Person) -> bool:
        return get_update(self.ledger.state, self.alliance, self.round, person.address) is not None

    def commit(self, ballots: Mapping[Person, Ballot] | None = None) -> "AlliancePlay":
        """Commit to votes, and go on."""
        self.ballots = dict.fromkeys(self.voters(), self.ballot()) if ballots is None else dict(ballots)
        for person, ballot in self.ballots.items():
            self.send_commitment(person, ballot)
        return self.end_step(AlliancePhase.VOTE)

    def reveal(self, voters: Sequence[Person] | None = None) -> "AlliancePlay":
        """Reveal what was committed to, and go on."""
        for person in self.ballots if voters is None else voters:
            self.ledger.send(person, self.reveal_of(person, self.ballots[person]))
        return self.end_step(AlliancePhase.REVEAL)

    def confirm(self, confirmations: Mapping[Person, ConfirmAggregate] | None = None) -> "AlliancePlay":
        """Name the aggregate of the accepted updates, and go on until the round is settled."""
        if self.phase is not AlliancePhase.CONFIRM:
            return self
        chosen = dict.fromkeys(self.voters(), self.confirmation()) if confirmations is None else confirmations
        for person, confirmation in chosen.items():
            self.ledger.send(person, confirmation)
        return self.end_step(AlliancePhase.CONFIRM)

    def run_round(self, ballots: Mapping[Person, Ballot] | None = None) -> "AlliancePlay":
        """Let everybody do its part in one round; honest votes where nothing else is said."""
        return self.draw().train().hold().commit(ballots).reveal().confirm()

    def skip_round(self) -> "AlliancePlay":
        """Let a round pass in which nobody trains."""
        return self.draw().train([])
