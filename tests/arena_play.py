"""One Arena task with its cast on the real ledger, led phase by phase: whoever is named acts, the others stay away."""

from collections.abc import Mapping, Sequence

from protocol.blocks import Receipt
from protocol.crypto import integer_bytes
from protocol.params import DEVNET, Params, TaskSettings
from protocol.rules import purses
from protocol.rules.arena.records import Epoch, Member, Phase, Task, get_epoch, get_member, get_task
from protocol.rules.arena.results import RESULTS, EpochResult
from protocol.rules.voters import get_voters
from protocol.tendermint.proposer import proposer_of
from protocol.transactions import Attest, Payload, Role, ScoreEntry
from tests.ledger_driver import FML, Ledger, Person

# Longer than nothing, shorter than the gap that counts as an outage.
STEP_MS = 7_000


class Play:
    """A task that is open for joining; the people are replicas too, and `stranger` has no role."""

    def __init__(
        self,
        *,
        trainers: int = 3,
        validators: int = 3,
        epochs: int = 2,
        escrow: int = 1_000 * FML,
        params: Params = DEVNET,
        settings: TaskSettings | None = None,
        baseline: int = 0,
        balance: int = 10_000 * FML,
        is_governed: bool = False,
        bystanders: Sequence[Person] = (),
    ) -> None:
        self.creator, self.stranger = Person("creator"), Person("stranger")
        self.trainers = [Person(f"trainer {number}") for number in range(trainers)]
        self.validators = [Person(f"validator {number}") for number in range(validators)]
        people = (self.creator, self.stranger, *self.trainers, *self.validators, *bystanders)
        self.governor = Person("governor")
        if is_governed:
            people = (*people, self.governor)
        governance = self.governor if is_governed else None
        self.ledger = Ledger(*people, balance=balance, params=params, governance=governance)
        asked = {"epochs": epochs, "escrow": escrow, "settings": settings, "baseline": baseline}
        self.task = self.ledger.create_task(self.creator, **asked)

    # --- what is there

    @property
    def record(self) -> Task:
        return get_task(self.ledger.state, self.task)

    @property
    def phase(self) -> Phase:
        return self.record.phase

    @property
    def epoch(self) -> int:
        return self.record.epoch

    @property
    def epoch_record(self) -> Epoch:
        return get_epoch(self.ledger.state, self.task, self.epoch)

    def result(self, epoch: int) -> EpochResult:
        found = RESULTS.get(self.ledger.state, integer_bytes(self.task), integer_bytes(epoch))
        assert found is not None
        return found

    def member(self, person: Person) -> Member:
        found = get_member(self.ledger.state, self.task, person.address)
        assert found is not None
        return found

    def units(self, purse: bytes) -> int:
        return purses.get_units(self.ledger.state, purse)

    def balance(self, person: Person) -> int:
        return self.units(purses.balance_of(person.address))

    def stake(self, person: Person) -> int:
        return self.units(purses.stake_of(self.task, person.address))

    def deposit(self, person: Person) -> int:
        return self.units(purses.deposit_of(self.task, person.address))

    def tag(self, person: Person, epoch: int | None = None) -> bytes:
        return self.ledger.tag(person, self.task, self.epoch if epoch is None else epoch)

    def drawn(self) -> list[Person]:
        chosen = {juror.address for juror in self.epoch_record.drawn}
        return [person for person in self.validators if person.address in chosen]

    def expect_conserved(self) -> None:
        """Assert that all purses together hold what was minted and not burned."""
        supply = purses.get_supply(self.ledger.state)
        total = sum(units for _, units in purses.scan_purses(self.ledger.state))
        assert total == supply.minted - supply.burned

    # --- single acts

    def send(self, person: Person, payload: Payload) -> Receipt:
        """Put one transaction into a block of its own."""
        self.ledger.send(person, payload)
        (receipt,) = self.ledger.block()
        return receipt

    def block_by(self, person: Person, *, after_ms: int = 100) -> tuple[Receipt, ...]:
        """Let a certain replica make the next block, in the round that is its turn."""
        voters = get_voters(self.ledger.state)
        for number in range(4 * len(self.ledger.people)):
            if proposer_of(voters.current, voters.priorities, number).account == person.address:
                return self.ledger.block(after_ms=after_ms, round=number)
        raise AssertionError(f"it is never the turn of {person.name}")

    def wait(self, *phases: Phase) -> None:
        """Make blocks until the task is in one of the phases."""
        self.ledger.run_until(lambda: self.phase in phases, after_ms=STEP_MS)

    # --- phase by phase

    def begin(
        self,
        *,
        trainers: Sequence[Person] | None = None,
        attesting: Sequence[Person] | None = None,
        stakes: Mapping[Person, int] | None = None,
        joined: bool = False,
    ) -> "Play":
        """Join, with 100 FML where nothing else is said, if not done yet; attest, and begin the first epoch."""
        for role, people in ((Role.TRAINER, trainers or self.trainers), (Role.VALIDATOR, self.validators)):
            for person in () if joined else people:
                self.ledger.join(person, self.task, role, (stakes or {}).get(person, 100 * FML))
        self.ledger.block()
        for person in self.validators if attesting is None else attesting:
            self.ledger.send(person, Attest(self.task))
        self.ledger.block()
        self.wait(Phase.SUBMIT, Phase.EXPIRED)
        return self

    def submit(self, trainers: Sequence[Person] | None = None) -> "Play":
        """Enter submissions, and go on to the open phase."""
        for person in self.trainers if trainers is None else trainers:
            self.ledger.submit(person, self.task, self.epoch)
        self.ledger.block()
        self.wait(Phase.OPEN)
        return self

    def draw(self) -> "Play":
        """Go on until the validators are drawn."""
        self.ledger.run_until(lambda: self.epoch_record.is_drawn)
        return self

    def open(self, trainers: Sequence[Person] | None = None, *, key: bool = True) -> "Play":
        """Open submissions, draw, release the key, and go on to scoring, or to the claims."""
        for person in self.trainers if trainers is None else trainers:
            if self.ledger.submission_of(person, self.task, self.epoch) is not None:
                self.ledger.open(person, self.task, self.epoch)
        self.ledger.block()
        self.draw()
        if key:
            self.ledger.release_key(self.creator, self.task)
        self.ledger.block()
        self.wait(Phase.SCORE, Phase.CLAIM)
        return self

    def entries(self, scores: Mapping[Person, int] | None = None) -> tuple[ScoreEntry, ...]:
        """Return honest entries; scores fall from 900,000 by 10,000 a trainer where nothing else is said."""
        known = {person: 900_000 - 10_000 * place for place, person in enumerate(self.trainers)}
        known.update(scores or {})
        return self.ledger.entries(self.task, self.epoch, {self.tag(person): score for person, score in known.items()})

    def commit(self, sheets: Mapping[Person, tuple[ScoreEntry, ...]] | None = None) -> "Play":
        """Commit to score sheets, and go on to revealing."""
        self.sheets = dict.fromkeys(self.drawn(), self.entries()) if sheets is None else dict(sheets)
        for person, entries in self.sheets.items():
            self.ledger.commit_scores(person, self.task, self.epoch, entries)
        self.ledger.block()
        self.wait(Phase.REVEAL, Phase.CLAIM)
        return self

    def reveal(self, validators: Sequence[Person] | None = None) -> "Play":
        """Reveal what was committed to, and go on to the claims."""
        for person in self.sheets if validators is None else validators:
            self.ledger.reveal_scores(person, self.task, self.epoch, self.sheets[person])
        self.ledger.block()
        self.wait(Phase.CLAIM)
        return self

    def claim(self, trainers: Sequence[Person] | None = None) -> "Play":
        """Claim submissions, and go on until the epoch is settled."""
        epoch = self.epoch
        for person in self.trainers if trainers is None else trainers:
            found = self.ledger.submission_of(person, self.task, epoch)
            if found is not None and found.key is not None:
                self.ledger.claim(person, self.task, epoch)
        self.ledger.block()
        self.ledger.run_until(lambda: self.epoch > epoch or self.phase is Phase.FINISHED, after_ms=STEP_MS)
        return self

    def run_epoch(self, sheets: Mapping[Person, tuple[ScoreEntry, ...]] | None = None) -> "Play":
        """Let everybody do its part."""
        return self.submit().open().commit(sheets).reveal().claim()
