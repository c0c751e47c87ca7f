"""Whatever people send in whatever order: nothing crashes, no unit appears or vanishes, and every task ends."""

import dataclasses
import random
from typing import get_args

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from protocol.blinding import dataset_key_hash
from protocol.blobs import compute_blob_id
from protocol.blocks import Block
from protocol.codec import decode, encode
from protocol.crypto import seal_key
from protocol.errors import ProtocolError
from protocol.ledger import check_anonymous
from protocol.params import DEVNET
from protocol.rules.arena.explaining import Kind, explain_epoch
from protocol.rules.arena.records import (
    CLOSED_PHASES,
    TASKS,
    get_epoch,
    get_submission,
    get_task,
    scan_active_tasks,
    scan_earned,
)
from protocol.rules.arena.results import RESULTS
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
from protocol.sealed_pieces import CLEAR_BYTES
from protocol.state import MemoryState
from protocol.transactions import (
    AddBounty,
    AnonymousPayload,
    Attest,
    CancelTask,
    CreateTask,
    DatasetName,
    Delegate,
    KeyComplaint,
    Leave,
    Payload,
    ProveBadPiece,
    ProveWrongVerdict,
    PublishKey,
    Recognise,
    ReleaseKey,
    Role,
    ScoreEntry,
    SealedDataset,
    SealedKey,
    SetRewardShare,
    Transfer,
    Undelegate,
    Verdict,
    VerifyTask,
)
from tests.arena_play import STEP_MS, Play
from tests.ledger_driver import FML, Ledger, Person, seed_of
from tests.ledger_invariants import expect_sound
from tests.protocol.rules.arena.test_proofs import prove, seal, spoiled
from tests.record_strategies import any_of

TEXT = b"This is no model. " * 10
KEYS = {DatasetName.A: seed_of("key a"), DatasetName.B: seed_of("key b")}
SPOILED = {name: spoiled(seal(key, bytes([name]) * (2 * CLEAR_BYTES + 9)), 1) for name, key in KEYS.items()}
SPOILED_SPEC = {
    f"dataset_{name.name.lower()}": SealedDataset(
        compute_blob_id(b"".join(SPOILED[name])), dataset_key_hash(key), 450_000
    )
    for name, key in KEYS.items()
}
PARAMS = replace(DEVNET, validators_per_epoch=3, max_trainers=4, max_validators=4)
# Under and over what counts as an outage, and a step so long that deadlines pass.
TIMES_MS = st.sampled_from([1, 100, STEP_MS, STEP_MS, DEVNET.max_block_gap_ms + 1, 10**8])
EDGES = st.sampled_from([0, 1, 2, 10**9, 2**62, 2**63 - 1])


class Chaos:
    """A play in which each step is drawn: duties done or botched, random payloads, random blocks."""

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw
        self.play = Play(
            trainers=4,
            validators=5,
            epochs=self.draw(st.integers(2, 3)),
            params=PARAMS,
            is_governed=True,
            bystanders=(Person("saver"),),
        )
        self.people = list(self.play.ledger.people)
        # The datasets are real, with a piece of each that does not decrypt; no file of `TEXT` is a model.
        spec = replace(self.play.record.spec, **SPOILED_SPEC)
        self.play.send(self.play.creator, CreateTask(spec, 100 * FML, 1_000 * FML))
        self.play.task = 2
        self.sheets: dict[tuple[bytes, int, int], tuple[ScoreEntry, ...]] = {}

    def step(self) -> None:
        """Do one thing, and now and then make a block."""
        person = self.draw(st.sampled_from(self.people))
        match self.draw(
            st.sampled_from(
                [
                    "join",
                    "duties",
                    "duties",
                    "everybody",
                    "everybody",
                    "act",
                    "invest",
                    "invest",
                    "accuse",
                    "garbage",
                    "forge",
                ]
            )
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
            case "invest":
                self.invest(person)
            case "accuse":
                self.play.ledger.send(person, self.draw(self.accusations()))
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

    def invest(self, person: Person) -> None:
        """Send something about a task's money: delegate, take back, share, give, call off, verify."""
        play, task = self.play, self.draw(st.sampled_from([1, 2, 2, 2]))
        outsider = self.draw(st.sampled_from([play.stranger, self.people[-2], person]))
        operator = self.draw(st.sampled_from([*play.trainers, *play.validators]))
        units = self.draw(st.sampled_from([1, FML, 50 * FML, 2_000 * FML, 2**62]))
        shares = self.draw(st.sampled_from([0, 1, 100_000, 500_000, 500_001]))
        match self.draw(st.sampled_from(["delegate", "delegate", "undelegate", "share", "give", "verify"])):
            case "delegate":
                play.ledger.send(outsider, Delegate(task, operator.address, units))
            case "undelegate":
                play.ledger.send(outsider, Undelegate(task, operator.address, units))
            case "share":
                play.ledger.send(operator, SetRewardShare(task, shares))
            case "give":
                play.ledger.send(person, AddBounty(task, units))
            case "verify":
                sender = self.draw(st.sampled_from([play.governor, play.governor, play.creator]))
                act = self.draw(st.sampled_from([VerifyTask(task), Recognise(person.address), CancelTask(task)]))
                play.ledger.send(sender, act)

    def bring_delegators(self) -> None:
        """Let everybody share rewards, and two outsiders delegate to some, from the next epoch on."""
        ledger, task = self.play.ledger, self.play.task
        for operator in (*self.play.trainers, *self.play.validators):
            ledger.send(operator, SetRewardShare(task, 300_000))
        for outsider in (self.play.stranger, self.people[-2]):
            for operator in (self.play.trainers[0], self.play.validators[0]):
                ledger.send(outsider, Delegate(task, operator.address, 50 * FML + 7))
        self.block()

    def accusations(self) -> st.SearchStrategy[Payload]:
        """Return what anybody may accuse others of, rightly or not."""
        task, index = self.play.task, self.draw(st.integers(0, 2))
        epoch = self.draw(st.integers(0, self.play.epoch))
        name, author = self.draw(st.sampled_from(DatasetName)), self.draw(st.sampled_from(self.play.trainers))
        text = seal(seed_of("key", author.name, epoch), TEXT)
        return st.one_of(
            st.just(KeyComplaint(task, epoch)),
            st.just(ProveBadPiece(task, name, index, *prove(SPOILED[name], index))),
            st.just(ProveWrongVerdict(task, epoch, self.play.tag(author, epoch), 0, *prove(text, 0))),
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
                    key = seed_of("key", person.name, epoch)
                    is_text = self.draw(st.integers(0, 3)) == 0
                    text = compute_blob_id(b"".join(seal(key, TEXT))) if is_text else None
                    ledger.submit(person, task, epoch, text)
                case OpenOwnSubmission(task, epoch):
                    ledger.open(person, task, epoch)
                case ReleaseDatasetKey(task) if self.draw(st.integers(0, 4)):
                    self.release_key(person, task)
                case ScoreSubmissions(task, epoch) if self.draw(st.integers(0, 7)) == 0:
                    ledger.send(person, KeyComplaint(task, epoch))
                case ScoreSubmissions(task, epoch):
                    entries = self.make_sheet(task, epoch)
                    if get_epoch(ledger.state, task, epoch).is_key_released:
                        self.sheets.setdefault((person.address, task, epoch), entries)
                    ledger.commit_scores(person, task, epoch, self.sheets[person.address, task, epoch])
                case RevealOwnScores(task, epoch) if (person.address, task, epoch) in self.sheets:
                    ledger.reveal_scores(person, task, epoch, self.sheets[person.address, task, epoch])
                case ClaimOwnSubmission(task, epoch):
                    ledger.claim(person, task, epoch)
                case PublishDatasetKey(task, name) if self.draw(st.integers(0, 3)):
                    ledger.send(person, PublishKey(task, name, seed_of("key a" if name is DatasetName.A else "key b")))

    def release_key(self, creator: Person, task: int) -> None:
        """Hand out the key that an epoch needs, now and then another."""
        ledger, record = self.play.ledger, get_task(self.play.ledger.state, task)
        if record.is_last_epoch() or self.draw(st.integers(0, 2)):
            ledger.release_key(creator, task)
            return
        panel = get_epoch(ledger.state, task, record.epoch).panel()
        sealed = tuple(SealedKey(juror.address, seal_key(bytes(32), juror.address)) for juror in panel)
        ledger.send(creator, ReleaseKey(task, record.epoch, sealed, None))

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
        expect_sound(ledger.state)
        for person in self.people:
            get_duties(ledger.state, person.address, lambda task, epoch, p=person: ledger.tag(p, task, epoch))

    def finish(self) -> None:
        """Let nobody do anything more: every task must end all the same."""
        ledger = self.play.ledger
        ledger.run_until(lambda: not scan_active_tasks(ledger.state), after_ms=STEP_MS, limit=600)
        assert self.play.phase in CLOSED_PHASES
        for _ in range(3):
            ledger.send(self.play.stranger, self.draw(self.accusations()))
            self.block()
        ledger.block(after_ms=DEVNET.unbonding_ms)
        expect_sound(ledger.state)
        self.expect_explained()
        self.expect_replayed()

    def expect_explained(self) -> None:
        """Assert that every unit that the tasks paid is traced to where it came from."""
        state = self.play.ledger.state
        for key, task in TASKS.scan(state):
            paid = sum(
                member.earned_a + member.earned_b + member.earned_validating + member.passed_on
                for _, member in scan_earned(state, task.id)
            )
            traces = [trace for epoch, _ in RESULTS.scan(state, key) for trace in self.explain(task.id, epoch)]
            explained = sum(trace.units for trace in traces if trace.kind is not Kind.CREATING)
            assert explained == paid
            assert all(trace.origins.total() == trace.units for trace in traces)

    def explain(self, task: int, epoch: bytes):
        return explain_epoch(self.play.ledger.state, PARAMS, task, int.from_bytes(epoch, "big"))

    def expect_replayed(self) -> None:
        """Assert that the blocks alone give the same bytes, also when changes are written in another order."""
        ledger = self.play.ledger
        again = Ledger(*ledger.people, params=PARAMS, governance=self.play.governor)
        again.state = Shuffled(again.state.records)
        again.before = dataclasses.replace(again.before, view=again.state)
        for block in ledger.blocks:
            again.apply(decode(encode(block), Block))
        assert again.state.records == ledger.state.records
        assert again.before.head == ledger.before.head


class Shuffled(MemoryState):
    """A state whose records and changes come in another order each time, as far as anybody could see one."""

    def apply(self, changes):
        order = list(changes.items())
        random.Random(len(order)).shuffle(order)
        super().apply(dict(order))
        records = list(self.records.items())
        random.Random(len(records)).shuffle(records)
        self.records = dict(records)


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
        if stage is Play.begin and data.draw(st.booleans(), label="delegators"):
            chaos.bring_delegators()
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
