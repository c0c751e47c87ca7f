"""Arena tasks played to their end: in each block everybody does what its conduct makes of its duty.

Pseudonyms and claims come without their proofs, which cost milliseconds each and decide nothing here: what the rules
would write once a proof is verified is written directly. Everything else goes through the rules.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from devnet.economy.actors import FML, Creator, Delegator, Trainer, Validator, seed_of, spread_of
from devnet.economy.world import World
from protocol import vrf
from protocol.blinding import dataset_key_hash, join_alpha, key_commitment, score_commitment
from protocol.blobs import BlobId
from protocol.crypto import integer_bytes, seal_key
from protocol.models import MetricSpec, mlp_model
from protocol.params import TaskSettings
from protocol.rules.arena import copies, records
from protocol.rules.arena.records import Epoch, Phase, Submission, Task
from protocol.rules.context import Context
from protocol.state import Overlay
from protocol.transactions import (
    Attest,
    CommitScores,
    CreateTask,
    DatasetName,
    Delegate,
    Join,
    KeyComplaint,
    OpenSubmission,
    PublishKey,
    ReleaseKey,
    Resources,
    RevealScores,
    Role,
    ScoreEntry,
    SealedDataset,
    SealedKey,
    TaskSpec,
    Verdict,
)

ACCURACY = MetricSpec("accuracy", True, 0, 1_000_000)
# What judging one epoch of a market takes.
BLOB_BYTES = 5_000
# What judging takes, and all validators have.
NEEDS = Resources(memory_mib=64, evaluation_ms=1_000)
# Between two entries of one trainer scores differ by less than this, in millionths, whatever its quality.
NOISE = 2_000
# A model that was altered a little scores less than its original by less than this.
NEAR_NOISE = 500
# Of 300 untrained networks on 300 rows of ten digits, the best scored 0.24, their mean 0.10, the commonest digit 0.15.
CONSTANT_SCORE, RANDOM_SCORE = 153_333, 240_000


@dataclass(frozen=True)
class Model:
    """What was entered under a tag: whose idea it is, its plaintext root, and its scores on both datasets."""

    origin: str
    root: bytes
    score_a: int
    score_b: int


# What is done, in which epoch, and whose account does it; told apart, so that nothing is done twice.
Deed = tuple[str, int, bytes]


@dataclass
class Market:
    """One task with its cast; several may share a world."""

    world: World
    creator: Creator
    trainers: Sequence[Trainer]
    validators: Sequence[Validator]
    delegators: Sequence[Delegator] = ()
    epochs: int = 3
    escrow: int = 1_000 * FML
    settings: TaskSettings | None = None
    baseline: int = RANDOM_SCORE
    id: int = 0
    models: dict[bytes, Model] = field(default_factory=dict)
    authors: dict[bytes, Trainer] = field(default_factory=dict)
    entered: dict[tuple[str, int], Model] = field(default_factory=dict)
    sheets: dict[tuple[bytes, int], tuple[ScoreEntry, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        members: tuple[Trainer | Validator, ...] = (*self.trainers, *self.validators)
        self.by_address: dict[bytes, Trainer | Validator] = {actor.address: actor for actor in members}
        self.by_name: dict[str, Trainer | Validator] = {actor.name: actor for actor in members}
        self.backers = {delegator.address: delegator for delegator in self.delegators}
        self.sent: set[Deed] = set()

    # --- the course of a task

    @property
    def record(self) -> Task:
        """The task as the log has it."""
        return records.get_task(self.world.state, self.id)

    def create(self, number: int) -> None:
        """Queue the task's creation; it will be the chain's task of this number."""
        self.id = number
        spec = TaskSpec(
            f"market {number}",
            mlp_model(64, 10),
            ACCURACY,
            SealedDataset(
                BlobId(seed_of("blob a", number), BLOB_BYTES), dataset_key_hash(self.dataset_key("a")), self.baseline
            ),
            SealedDataset(
                BlobId(seed_of("blob b", number), BLOB_BYTES), dataset_key_hash(self.dataset_key("b")), self.baseline
            ),
            self.epochs,
            self.settings or self.world.params.task,
            NEEDS,
        )
        self.world.send(self.creator, CreateTask(spec, self.creator.stake, self.escrow))

    def dataset_key(self, name: str) -> bytes:
        """Return the key of one of the datasets."""
        return seed_of("dataset key", name, self.id)

    def queue_acts(self) -> bool:
        """Queue what everybody does next; returns whether that is anything."""
        task, before = self.record, len(self.sent)
        for act in self.acts(task):
            if act in self.sent:
                continue
            self.sent.add(act)
            self.perform(task, *act)
        return len(self.sent) > before

    def acts(self, task: Task) -> Iterator[Deed]:
        """Yield (what, epoch, who) for everything that this state asks for, also if it was done already."""
        match task.phase:
            case Phase.OPENING:
                early = [trainer.address for trainer in self.trainers if trainer.first_epoch == 0]
                jurors = [validator.address for validator in self.validators]
                yield from (("join", 0, address) for address in (*early, *jurors))
                if records.get_places(self.world.state, self.id).validators:
                    yield from (("attest", 0, address) for address in jurors)
                    yield from (("delegate", 0, address) for address in self.backers)
            case Phase.FINISHED:
                keys = zip(DatasetName, task.published, strict=True)
                yield from (("publish", name, self.creator.address) for name, key in keys if key is None)
            case phase if phase in STEPS:
                yield from self.epoch_acts(task)

    def epoch_acts(self, task: Task) -> Iterator[Deed]:
        """Yield the acts of a phase of the current epoch."""
        epoch = records.get_epoch(self.world.state, self.id, task.epoch)
        step, now = STEPS[task.phase], task.epoch
        match task.phase:
            case Phase.SUBMIT:
                yield from (("join", 0, t.address) for t in self.trainers if t.first_epoch == now + 1)
                yield from ((step, now, seat.address) for seat in epoch.seats)
            case Phase.OPEN | Phase.REDRAW if epoch.is_drawn and not epoch.is_key_released:
                yield ("release", now, integer_bytes(epoch.earlier))
        match task.phase:
            case Phase.OPEN | Phase.CLAIM:
                yield from ((step, now, seat.address) for seat in epoch.seats)
            case Phase.ANSWER:
                yield (step, now, integer_bytes(epoch.earlier))
            case Phase.SCORE:
                yield from self.scoring_acts(epoch, now)
            case Phase.REVEAL:
                yield from ((step, now, juror.address) for juror in epoch.panel())

    def scoring_acts(self, epoch: Epoch, now: int) -> Iterator[Deed]:
        """Yield what the panel does to score: complain without the key, commit with it."""
        panel = [self.validator(juror.address) for juror in epoch.panel()]
        has_key = epoch.clear_key is not None or not self.creator.seals_wrong
        if epoch.clear_key is None:
            yield from (("complain", now, one.address) for one in panel if one.complains or not has_key)
        if not has_key:
            return
        # Who copies a commitment waits until it sees one.
        is_any_seen = bool(records.scan_sheets(self.world.state, self.id, now))
        ready = [one for one in panel if is_any_seen or not one.copies_commitments]
        yield from (("commit", now, one.address) for one in ready if epoch.clear_key is not None or not one.complains)

    def perform(self, task: Task, what: str, number: int, who: bytes) -> None:
        """Queue one act, unless its actor's conduct is not to."""
        match what:
            case "join":
                self.join(self.by_address[who])
            case "attest":
                self.world.send(self.by_address[who], Attest(self.id))
            case "delegate":
                self.delegate(self.backers[who])
            case "enter":
                self.enter(self.trainer(who), number)
            case "open":
                self.open(self.trainer(who), number)
            case "release":
                self.release(task)
            case "complain":
                self.world.send(self.by_address[who], KeyComplaint(self.id, number))
            case "answer":
                self.answer()
            case "commit":
                self.commit(self.validator(who), task)
            case "reveal":
                self.reveal(self.validator(who), number)
            case "claim":
                self.claim(self.trainer(who), number)
            case "publish":
                self.publish_key(DatasetName(number))

    def trainer(self, address: bytes) -> Trainer:
        """Return the trainer with this account."""
        actor = self.by_address[address]
        assert isinstance(actor, Trainer)
        return actor

    def validator(self, address: bytes) -> Validator:
        """Return the validator with this account."""
        actor = self.by_address[address]
        assert isinstance(actor, Validator)
        return actor

    # --- single acts

    def join(self, actor: Trainer | Validator) -> None:
        """Take a role."""
        role = Role.TRAINER if isinstance(actor, Trainer) else Role.VALIDATOR
        secret, alpha = actor.vrf_secret(self.id), join_alpha(self.world.chain, self.id, actor.address)
        proof = vrf.prove(secret, alpha=alpha, ad=b"", randomness=seed_of("join", actor.name, self.id))
        self.world.send(actor, Join(self.id, role, actor.stake, vrf.public(secret), proof, NEEDS))

    def delegate(self, delegator: Delegator) -> None:
        """Delegate to an operator."""
        operator = self.by_name[delegator.operator].address
        self.world.send(delegator, Delegate(self.id, operator, delegator.stake))

    def tag(self, trainer: Trainer, epoch: int) -> bytes:
        """Return what stands for a trainer's pseudonym."""
        return seed_of("tag", self.id, epoch, trainer.name)

    def key(self, trainer: Trainer, epoch: int) -> bytes:
        """Return the key of what a trainer entered."""
        return seed_of("key", self.id, epoch, trainer.name)

    def train(self, trainer: Trainer, epoch: int) -> Model:
        """Return the model that a trainer enters."""
        if trainer.clones is not None:
            return self.train_named(trainer.clones, epoch)
        if trainer.copies is not None:
            return self.entered[trainer.copies, epoch - 1]
        root = seed_of("weights", self.id, epoch, trainer.name)
        if trainer.near is not None:
            like = self.entered.get((trainer.near, epoch - 1)) or self.train_named(trainer.near, epoch)
            noise = spread_of(NEAR_NOISE, "near", self.world.seed, self.id, epoch, trainer.name)
            return Model(like.origin, root, max(0, like.score_a - noise), max(0, like.score_b - noise))
        noise = spread_of(NOISE, "noise", self.world.seed, self.id, epoch, trainer.name)
        return Model(
            f"{trainer.name} {epoch}", root, max(0, trainer.quality_a - noise), max(0, trainer.quality_b - noise)
        )

    def train_named(self, name: str, epoch: int) -> Model:
        """Return what another trainer enters in the same epoch."""
        return self.train(self.trainer(self.by_name[name].address), epoch)

    def enter(self, trainer: Trainer, epoch: int) -> None:
        """Enter a model."""
        tag, model = self.tag(trainer, epoch), self.train(trainer, epoch)
        self.models[tag] = self.entered[trainer.name, epoch] = model
        self.authors[tag] = trainer
        commitment = key_commitment(self.world.chain, self.id, epoch, tag, self.key(trainer, epoch))
        blob = BlobId(seed_of("blob", self.id, epoch, trainer.name), BLOB_BYTES)

        def write(state: Overlay, context: Context) -> None:
            task = records.require_phase(state, self.id, epoch, Phase.SUBMIT)
            order = len(records.scan_submissions(state, self.id, epoch))
            records.put_submission(state, self.id, epoch, tag, Submission(order, blob, commitment, None, None))
            if not task.has_submissions:
                records.put_task(state, replace(task, has_submissions=True))

        self.world.act(write)

    def open(self, trainer: Trainer, epoch: int) -> None:
        """Open what was entered."""
        if trainer.opens and (trainer.name, epoch) in self.entered:
            tag = self.tag(trainer, epoch)
            self.world.send_anonymous(OpenSubmission(self.id, epoch, tag, self.key(trainer, epoch)))

    def release(self, task: Task) -> None:
        """Hand out the key of the epoch's dataset."""
        if self.creator.withholds:
            return
        if task.is_last_epoch():
            self.world.send(self.creator, ReleaseKey(self.id, task.epoch, (), self.dataset_key("b")))
            return
        key = self.dataset_key("other" if self.creator.seals_wrong else "a")
        panel = records.get_epoch(self.world.state, self.id, task.epoch).panel()
        sealed = tuple(SealedKey(juror.address, seal_key(key, juror.address)) for juror in panel)
        self.world.send(self.creator, ReleaseKey(self.id, task.epoch, sealed, None))

    def judge(self, validator: Validator, task: Task) -> tuple[ScoreEntry, ...]:
        """Return what a validator says of all opened submissions."""
        opened = records.scan_opened(self.world.state, self.id, task.epoch)
        first = self.find_originals(task)
        entries = []
        for tag, _ in opened:
            model = self.models[tag]
            if validator.condemns:
                entries.append(ScoreEntry(tag, Verdict.INVALID, 0, model.root, None))
                continue
            score = model.score_b if task.is_last_epoch() else model.score_a
            if validator.opinion is not None:
                score = validator.opinion(self.authors[tag], score, task.epoch)
            original = first[model.origin]
            duplicate_of = None if original == tag else original
            entries.append(ScoreEntry(tag, Verdict.SCORED, score, model.root, duplicate_of))
        return tuple(entries)

    def find_originals(self, task: Task) -> dict[str, bytes]:
        """Return the first model of each idea: of the gallery, or of this epoch's in the order they were entered."""
        first: dict[str, bytes] = {}
        gallery = [original.origin for original in copies.get_gallery(self.world.state, self.id)]
        opened = sorted(records.scan_opened(self.world.state, self.id, task.epoch), key=lambda item: item[1].order)
        for origin in sorted(gallery, key=lambda origin: origin.epoch):
            first.setdefault(self.models[origin.tag].origin, origin.tag)
        for tag, _ in opened:
            first.setdefault(self.models[tag].origin, tag)
        return first

    def commit(self, validator: Validator, task: Task) -> None:
        """Commit to scores, or to what another committed to."""
        if not validator.commits:
            return
        if validator.copies_commitments:
            seen = records.scan_sheets(self.world.state, self.id, task.epoch)
            owner, sheet = seen[0]
            self.sheets[validator.address, task.epoch] = self.sheets[owner, task.epoch]
            self.world.send(validator, CommitScores(self.id, task.epoch, sheet.commitment))
            return
        entries = self.judge(validator, task)
        self.sheets[validator.address, task.epoch] = entries
        salt = seed_of("salt", self.id, task.epoch, validator.name)
        commitment = score_commitment(self.world.chain, self.id, task.epoch, validator.address, salt, entries)
        self.world.send(validator, CommitScores(self.id, task.epoch, commitment))

    def reveal(self, validator: Validator, epoch: int) -> None:
        """Show the scores."""
        entries = self.sheets.get((validator.address, epoch))
        if validator.reveals and entries is not None:
            salt = seed_of("salt", self.id, epoch, validator.name)
            self.world.send(validator, RevealScores(self.id, epoch, salt, entries))

    def claim(self, trainer: Trainer, epoch: int) -> None:
        """Own up to what was entered."""
        tag = self.tag(trainer, epoch)
        if not trainer.claims:
            return
        self.world.pay(trainer)

        def write(state: Overlay, context: Context) -> None:
            found = records.get_submission(state, self.id, epoch, tag)
            if found is not None and found.key is not None:
                records.put_submission(state, self.id, epoch, tag, replace(found, author=trainer.address))

        self.world.act(write)

    def answer(self) -> None:
        """Publish dataset A's key because somebody complained."""
        if self.creator.answers:
            self.publish_key(DatasetName.A)

    def publish_key(self, name: DatasetName) -> None:
        """Publish a dataset's key; once both are out, the creator's deposit will be free."""
        self.world.send(self.creator, PublishKey(self.id, name, self.dataset_key(name.name.lower())))


# What is done in each phase of an epoch.
STEPS = {
    Phase.SUBMIT: "enter",
    Phase.OPEN: "open",
    Phase.REDRAW: "release",
    Phase.SCORE: "commit",
    Phase.ANSWER: "answer",
    Phase.REVEAL: "reveal",
    Phase.CLAIM: "claim",
}
