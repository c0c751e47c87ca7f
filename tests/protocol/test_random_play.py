"""Whatever people send in whatever order: nothing crashes, no unit appears or vanishes, and every task ends."""

from typing import get_args

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from protocol.errors import ProtocolError
from protocol.ledger import check_anonymous
from protocol.params import DEVNET
from protocol.rules.arena.records import Phase, get_epoch, get_submission, get_task, scan_active_tasks
from protocol.rules.duties import (
    AttestDatasets,
    ClaimOwnSubmission,
    EnterSubmission,
    OpenOwnSubmission,
    PublishDatasetKey,
    ReleaseDatasetKey,
    RevealOwnScores,
    ScoreSubmissions,
    get_duties,
)
from protocol.transactions import (
    AnonymousPayload,
    Attest,
    CreateTask,
    DatasetName,
    Leave,
    Payload,
    PublishKey,
    Role,
    ScoreEntry,
    Transfer,
    Verdict,
)
from tests.arena_play import STEP_MS, Play
from tests.ledger_driver import FML, Person, seed_of
from tests.record_strategies import any_of

PARAMS = replace(DEVNET, validators_per_epoch=3, max_trainers=4, max_validators=4)
# Under and over what counts as an outage, and a step so long that deadlines pass.
TIMES_MS = st.sampled_from([1, 100, STEP_MS, STEP_MS, DEVNET.max_block_gap_ms + 1, 10**8])
EDGES = st.sampled_from([0, 1, 2, 10**9, 2**62, 2**63 - 1])


class Chaos:
    """A play in which each step is drawn: duties done or botched, random payloads, random blocks."""

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw
        self.play = Play(trainers=4, validators=4, epochs=self.draw(st.integers(2, 3)), params=PARAMS)
        self.people = list(self.play.ledger.people)
        self.sheets: dict[tuple[bytes, int, int], tuple[ScoreEntry, ...]] = {}

    def step(self) -> None:
        """Do one thing, and now and then make a block."""
        person = self.draw(st.sampled_from(self.people))
        match self.draw(
            st.sampled_from(["join", "duties", "duties", "duties", "everybody", "act", "garbage", "forge"])
        ):
            case "join":
                role, stake = (
                    self.draw(st.sampled_from(Role)),
                    self.draw(st.sampled_from([9, 10, 100, 9_999, 2**33])) * FML,
                )
                self.play.ledger.join(person, self.draw(st.integers(1, 2)), role, min(stake, 2**63 - 1))
            case "duties":
                self.do_duties(person)
            case "everybody":
                for other in self.people:
                    self.do_duties(other)
            case "act":
                self.play.ledger.send(person, self.draw(self.acts()))
            case "garbage":
                self.play.ledger.send(
                    person, self.aimed(self.draw(any_of(self.draw(st.sampled_from(get_args(Payload))))))
                )
            case "forge":
                self.play.ledger.send_anonymous(self.aimed(self.draw(any_of(AnonymousPayload))))
        if self.draw(st.booleans()):
            self.block()

    def acts(self) -> st.SearchStrategy[Payload]:
        """Return what anybody may try at any time."""
        task, spec = self.draw(st.integers(1, 2)), self.play.record.spec
        return st.one_of(
            st.just(Attest(task)),
            st.just(Leave(task)),
            st.builds(Transfer, st.sampled_from([person.address for person in self.people]), EDGES.filter(bool)),
            st.builds(CreateTask, st.just(spec), EDGES, EDGES.filter(bool)),
            st.builds(PublishKey, st.just(task), st.sampled_from(DatasetName), st.just(seed_of("key a"))),
        )

    def aimed(self, payload):
        """Return a random payload that names a task and an epoch which exist, if it names any."""
        if "task" in payload.__struct_fields__ and self.draw(st.booleans()):
            payload = replace(payload, task=self.play.task)
        if "epoch" in payload.__struct_fields__:
            payload = replace(payload, epoch=self.play.epoch)
        if "tag" in payload.__struct_fields__ and self.draw(st.booleans()):
            payload = replace(payload, tag=self.play.tag(self.draw(st.sampled_from(self.play.trainers))))
        return payload

    def do_duties(self, person: Person) -> None:
        """Queue what a person should do now; scores are whatever comes to its mind."""
        ledger = self.play.ledger
        for duty in get_duties(ledger.state, person.address, lambda task, epoch: ledger.tag(person, task, epoch)):
            match duty:
                case AttestDatasets(task):
                    ledger.send(person, Attest(task))
                case EnterSubmission(task, epoch):
                    ledger.submit(person, task, epoch)
                case OpenOwnSubmission(task, epoch):
                    ledger.open(person, task, epoch)
                case ReleaseDatasetKey(task) if self.draw(st.integers(0, 3)):
                    ledger.release_key(person, task)
                case ScoreSubmissions(task, epoch):
                    entries = self.make_sheet(task, epoch)
                    if get_epoch(ledger.state, task, epoch).is_key_released:
                        self.sheets.setdefault((person.address, task, epoch), entries)
                    ledger.commit_scores(person, task, epoch, self.sheets[person.address, task, epoch])
                case RevealOwnScores(task, epoch) if (person.address, task, epoch) in self.sheets:
                    ledger.reveal_scores(person, task, epoch, self.sheets[person.address, task, epoch])
                case ClaimOwnSubmission(task, epoch):
                    ledger.claim(person, task, epoch)
                case PublishDatasetKey(task):
                    ledger.publish_keys(person, task)

    def make_sheet(self, task: int, epoch: int) -> tuple[ScoreEntry, ...]:
        """Return an entry per opened submission, with any verdict, score and original."""
        entries = self.play.ledger.entries(task, epoch, AnyScore())
        return tuple(self.vary(entry, [other.tag for other in entries]) for entry in entries)

    def vary(self, entry: ScoreEntry, tags: list[bytes]) -> ScoreEntry:
        score = self.draw(st.sampled_from([0, 1, 500_000, 500_100, 1_000_000]))
        match self.draw(st.sampled_from([*Verdict, Verdict.SCORED, Verdict.SCORED])):
            case Verdict.UNFETCHABLE:
                return replace(entry, verdict=Verdict.UNFETCHABLE, score=0, root=None)
            case Verdict.INVALID:
                return replace(entry, verdict=Verdict.INVALID, score=0)
        root = self.draw(st.sampled_from([entry.root, bytes(32)]))
        return replace(entry, score=score, root=root, duplicate_of=self.draw(st.sampled_from([None, *tags])))

    def block(self) -> None:
        """Make a block of what may stand in one, whoever's turn it is, and check what must always hold."""
        ledger = self.play.ledger
        ledger.block(after_ms=self.draw(TIMES_MS), round=self.draw(st.integers(0, 5)))
        self.play.expect_conserved()
        for person in self.people:
            get_duties(ledger.state, person.address, lambda task, epoch, p=person: ledger.tag(p, task, epoch))

    def finish(self) -> None:
        """Let nobody do anything more: every task must end all the same."""
        ledger = self.play.ledger
        ledger.run_until(lambda: not scan_active_tasks(ledger.state), after_ms=STEP_MS, limit=600)
        assert self.play.phase in (Phase.FINISHED, Phase.EXPIRED)
        ledger.block(after_ms=DEVNET.unbonding_ms)
        self.play.expect_conserved()


# How far a task is led before things go wild: into each phase of the first epoch, and into the second.
STAGES = (Play.begin, Play.submit, Play.open, Play.commit, Play.reveal, Play.claim, Play.submit, Play.open)


class AnyScore(dict):
    """A score for every tag."""

    def __missing__(self, tag: bytes) -> int:
        return 500_000


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_sent_money_is_kept_and_tasks_end(data):
    """Random steps from a new task, or from one in the middle of an epoch, and then silence."""
    chaos = Chaos(data)
    led = data.draw(st.integers(0, len(STAGES)), label="stages")
    for stage in STAGES[:led]:
        stage(chaos.play)
    for _ in range(data.draw(st.integers(10, 40), label="steps")):
        chaos.step()
    chaos.finish()


@settings(max_examples=60, deadline=None)
@given(payload=any_of(AnonymousPayload))
def test_no_anonymous_payload_crashes_the_mempool_check(payload):
    """Anybody can send these for free: every one is refused with a reason."""
    play = PLAY
    for aimed in (payload, replace(payload, task=play.task, epoch=play.epoch)):
        try:
            check_anonymous(play.ledger.before, aimed)
        except ProtocolError:
            continue
        assert get_submission(play.ledger.state, aimed.task, aimed.epoch, aimed.tag) is not None
        assert get_task(play.ledger.state, aimed.task)


PLAY = Play().begin()
