"""Participants of an alliance with the real jobs on the real ledger; blobs go from store to store, not by network."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from flocknode.frames import Failed, Progress
from flocknode.jobs import MakeModel, SplitRows
from flocknode.learning import child
from flocknode.network.errors import BlobUnavailable
from flocknode.participants.diary import Diary, OwnSplit
from flocknode.participants.kit import seal_into_blob
from flocknode.participants.performer import perform
from flocknode.participants.sender import ReceiptRefused
from flocknode.rpc.events import EventHub
from flocknode.sealing import open_file
from flocknode.trainings import Trainings
from flocknode.work import Works
from flocknode.worker import JobFailed
from protocol.alliance_acts import JoinAlliance
from protocol.codec import encode
from protocol.models import linear_model
from protocol.params import DEVNET
from protocol.rules.alliance.duties import get_alliance_duties
from protocol.rules.alliance.records import AlliancePhase
from storage.blobs import BlobStore
from storage.database import Database
from storage.notes import Notes
from tests.alliance_play import AlliancePlay, make_spec
from tests.dataset_files import write_dataset

MODEL = linear_model(inputs=4, outputs=2)
PARTICIPANTS, ROWS, TEST_SHARE = 5, 120, 250_000


class JobsHere:
    """The learning worker's jobs without its process, so that torch is imported once for all of these tests."""

    def __init__(self):
        self.performers = child._load_performers()

    async def run(self, job, on_progress=None):
        def report(done, total, loss=None):
            if on_progress is not None:
                on_progress(Progress(done, total, loss))
            return False

        answer = child._perform(self.performers, encode(job), report)
        if isinstance(answer, Failed):
            raise JobFailed(answer.reason)
        return answer


class Hand:
    """What a participant's duties need of a kit; transactions come into a block at once."""

    def __init__(self, stage, person):
        self.stage, self.person, self.address = stage, person, person.address
        self.folder = stage.folder / person.name.replace(" ", "-")
        self.scratch, self.alliances = self.folder / "scratch", self.folder / "alliances"
        self.blobs = BlobStore(self.folder / "blobs")
        self.open_diary()
        self.worker, self.works, self.trainings = stage.worker, Works(EventHub()), Trainings()
        self.account = SimpleNamespace(seed=person.seed)
        self.sender, self.source = SimpleNamespace(apply=self.apply), SimpleNamespace(fetch_blob=self.fetch_blob)
        self.told, self.sent = [], []

    def open_diary(self):
        """Begin with an empty memory, as after a crash: the diary is read from the disk."""
        self.database = getattr(self, "database", None) or Database(self.folder / "database")
        self.diary = Diary(Notes(self.database))

    @property
    def chain(self):
        before = self.stage.play.ledger.before
        return SimpleNamespace(
            view=self.stage.play.ledger.state,
            params=before.params,
            head=before.head,
            id=before.chain,
            load_block=lambda height: self.stage.play.ledger.blocks[height - 1],
            load_receipts=lambda height: self.stage.play.ledger.receipts[height - 1],
            name_of=lambda address: next(one.name for one in self.stage.play.participants if one.address == address),
        )

    def randomness(self, count):
        """Return other bytes each time, so that a vote that is made again is another one."""
        self.stage.drawn += 1
        return self.stage.drawn.to_bytes(count, "big")

    async def apply(self, payload):
        receipt = self.stage.play.send(self.person, payload)
        if receipt.error:
            raise ReceiptRefused(receipt.message)
        self.sent.append(payload)

    async def fetch_blob(self, blob, *, on_progress=None):
        for hand in self.stage.hands:
            if hand.blobs.has(blob) and hand not in self.stage.silent:
                self.blobs.put(hand.blobs.path(blob).read_bytes())
                return
        raise BlobUnavailable("none of 4 connected peers delivers it")

    async def seal_into_blob(self, source, key):
        return seal_into_blob(self.blobs, source, key)

    async def open_blob(self, blob, target, key):
        open_file(self.blobs.path(blob), target, key)

    def report(self, alliance, words):
        self.told.append(words)

    def duties(self):
        return list(get_alliance_duties(self.stage.play.ledger.state, self.address))


@dataclass
class Stage:
    """An alliance on the ledger with a hand for each participant; `silent` ones serve nobody."""

    play: AlliancePlay
    folder: object
    worker: JobsHere
    hands: list = None
    silent: list = None
    drawn: int = 0

    async def join(self):
        """Cut everybody's data as `alliance.join` does, put the start into the store, and begin the first round."""
        self.hands, self.silent = [], []
        self.hands += [Hand(self, person) for person in self.play.participants]
        for number, hand in enumerate(self.hands):
            data = write_dataset(self.folder / f"data-{number}", rows=ROWS, columns=4, seed=number)
            own = hand.alliances / "1"
            own.mkdir(parents=True)
            split = OwnSplit(str(own / "train"), str(own / "test"), number)
            cut = await self.worker.run(SplitRows(str(data), number, TEST_SHARE, split.train, split.test))
            hand.diary.save_split(1, split)
            self.play.ledger.send(hand.person, JoinAlliance(1, cut.train_rows, cut.test_rows))
        self.hands[0].blobs.put(self.start.read_bytes())
        self.play.ledger.block()
        self.play.wait(AlliancePhase.TRAIN)

    @property
    def start(self):
        return self.folder / "start.safetensors"

    def acting(self):
        return [hand for hand in self.hands if hand.duties()]

    async def act(self, *hands):
        """Let some do what they should do now, or all."""
        for hand in hands or self.acting():
            for duty in hand.duties():
                await perform(hand, duty)

    async def repeat(self, hand):
        """Let a participant act, crash before it sends, and act again; returns both payloads."""
        attempts, send = [], hand.sender.apply

        async def lose(payload):
            attempts.append(payload)
            raise ReceiptRefused("the power went out")

        hand.sender.apply = lose
        with pytest.raises(ReceiptRefused):
            await self.act(hand)
        hand.open_diary()
        hand.sender.apply = send
        await self.act(hand)
        return attempts[0], hand.sent[-1]

    async def run_round(self):
        """Let everybody act until the round is settled."""
        number = self.play.round
        while self.play.round == number and self.play.phase is not AlliancePhase.FINISHED:
            acting = self.acting()
            if acting:
                await self.act(*acting)
            else:
                self.play.leave_phase()
        return self.play.result(number)


async def open_stage(folder, worker, *, participants=PARTICIPANTS, params=DEVNET, **settings):
    """Open an alliance of so many participants that begins with a fresh model, and draw its first round."""
    start = folder / "start.safetensors"
    await worker.run(MakeModel(MODEL, 0, str(start)))
    fresh = BlobStore(folder / "fresh").put(start.read_bytes())
    chosen = replace(params.alliance.settings, **({"rounds": 2} | settings))
    spec = make_spec(chosen, model=MODEL, fresh_model=fresh, participants=participants)
    stage = Stage(AlliancePlay(participants=participants, params=params, spec=spec), folder, worker)
    await stage.join()
    return stage


def close_stage(stage):
    """Close everybody's database."""
    for hand in stage.hands or ():
        hand.database.close()
