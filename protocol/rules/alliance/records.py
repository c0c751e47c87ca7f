"""The state records of FL Alliance and their tables. Keys: alliance (8 bytes), round (8 bytes), then an address."""

from enum import IntEnum

from protocol.alliance_acts import AllianceSpec
from protocol.blobs import BlobId
from protocol.crypto import integer_bytes
from protocol.errors import NotFound, WrongPhase
from protocol.models import MetricValue
from protocol.rules.jobs import NOTHING_COUNTED, Counter, Job, Mark
from protocol.state import Overlay, StateView, Table
from protocol.types import Address, Amount, Bytes32, Count, Digest, Record


class AlliancePhase(IntEnum):
    """Where an alliance stands. DRAW to CONFIRM repeat every round, in this order.

    SEAL and AGGREGATE are only where updates are hidden, and with HOLD once more for every aggregator that fails. Where
    they are masked, TRAIN and SEAL come again without those whose vectors are missing, and a disputed sum leads from
    AGGREGATE to DISPUTE, and if the voters confirm it to UNMASK and VERDICT, with which the round ends.
    """

    OPENING = 1
    DRAW = 2
    TRAIN = 3
    SEAL = 4
    HOLD = 5
    AGGREGATE = 6
    VOTE = 7
    REVEAL = 8
    CONFIRM = 9
    FINISHED = 10
    EXPIRED = 11
    CANCELLED = 12
    DISPUTE = 13
    UNMASK = 14
    VERDICT = 15


# The steps that only a disputed sum of masked updates leads to, in their order.
DISPUTED_PHASES = (AlliancePhase.DISPUTE, AlliancePhase.UNMASK, AlliancePhase.VERDICT)


class Accepted(Record):
    """A model that a round accepted: its blob, and the median of the voters' scores, in millionths."""

    round: Count
    model: BlobId
    score: MetricValue


class Alliance(Job):
    """One FL Alliance. `places` counts its participants, those that are out for good left out.

    `winner` is the submission (of the base task's last epoch) that it starts from. `latest` is what the next round
    trains on: what was accepted last, or after a rejection the best again. `best` is what votes compare with; None is
    the start. `periods` counts emissions received.
    """

    spec: AllianceSpec
    winner: Bytes32 | None
    phase: AlliancePhase
    round: Count
    places: Count
    latest: Accepted | None
    best: Accepted | None
    periods: Count

    def rounds_left(self) -> int:
        """Return how many rounds may still be paid, this one included."""
        return self.spec.settings.rounds - self.round


class Participant(Record):
    """An account in an alliance. `is_warned`: its stake is below the threshold, so it must top up before the next draw.

    `is_out` for good. `accepted_rounds` counts those that paid it.
    """

    train_rows: Count
    test_rows: Count
    is_leaving: bool
    is_warned: bool
    is_out: bool
    accepted_rounds: Count
    earned: Amount
    slashed: Amount


class Selected(Record):
    """A participant with a role in a round, with the stake that it counts with."""

    address: Address
    stake: Amount


class AllianceRound(Record):
    """Who was drawn for a round, sorted by address, and which proposers' updates 2/3 of the voters hold (frozen).

    `candidates` are those that may be drawn, frozen before the blocks that seed the draw exist; nobody once that was
    made. `accepted` are the proposers whose updates the votes accepted, once they are revealed.

    Where updates are hidden, `aggregators` stand in the order of the draw, and it is the turn of that with number
    `turn`. `beacon` is the one that all were drawn by. Where they are masked, `dropped` are no proposers any more, and
    `is_disputed` says that whose turn it is could not open the sum.
    """

    candidates: tuple[Selected, ...]
    proposers: tuple[Selected, ...]
    dropped: tuple[Selected, ...]
    voters: tuple[Selected, ...]
    aggregators: tuple[Selected, ...]
    turn: Count
    is_disputed: bool
    beacon: Digest | None
    frozen: tuple[Address, ...]
    accepted: tuple[Address, ...]

    def stakes(self) -> dict[bytes, int]:
        """Return the stake of everybody selected, by address."""
        everybody = (*self.proposers, *self.dropped, *self.voters, *self.aggregators)
        return {one.address: one.stake for one in everybody}

    def attempt(self) -> int:
        """Return a number that grows whenever a masked round is run again: how many were dropped."""
        return len(self.dropped)

    def aggregator(self) -> bytes | None:
        """Return whose turn it is to aggregate, if anybody's."""
        return self.aggregators[self.turn].address if self.turn < len(self.aggregators) else None

    def is_proposer(self, address: bytes) -> bool:
        """Return whether an account trains in this round."""
        return any(one.address == address for one in self.proposers)

    def is_voter(self, address: bytes) -> bool:
        """Return whether an account judges in this round."""
        return any(one.address == address for one in self.voters)


class Update(Record):
    """What a proposer trained."""

    blob: BlobId


class Ballot(Record):
    """A voter's scores, as revealed (`RevealVote`)."""

    best: MetricValue
    scores: tuple[MetricValue | None, ...]
    aggregate: BlobId | None

    def is_refusal(self) -> bool:
        """Return whether it says, where updates are hidden, that what was published is false or cannot be had."""
        return (self.scores, self.aggregate) == ((None,), None)


class Confirmation(Record):
    """A voter's aggregate of the accepted updates (`ConfirmAggregate`)."""

    model: BlobId
    score: MetricValue
    gains: tuple[MetricValue, ...]


class VoterSheet(Record):
    """What a voter has done in a round so far; None is not yet. `opens` and `liars` are about a disputed sum."""

    held: tuple[Address, ...] | None
    commitment: Digest | None
    ballot: Ballot | None
    confirmation: Confirmation | None
    opens: bool | None
    liars: tuple[Address, ...] | None


EMPTY_SHEET = VoterSheet(held=None, commitment=None, ballot=None, confirmation=None, opens=None, liars=None)

# No table's name may begin with another's, so all of these have two letters.
ALLIANCE_COUNTER = Table(b"FN", Counter)
ALLIANCES = Table(b"FA", Alliance)
ACTIVE_ALLIANCES = Table(b"Fa", Mark)
PARTICIPANTS = Table(b"FP", Participant)
ROUNDS = Table(b"FR", AllianceRound)
UPDATES = Table(b"FU", Update)
VOTER_SHEETS = Table(b"FV", VoterSheet)

CLOSED_PHASES = (AlliancePhase.FINISHED, AlliancePhase.EXPIRED, AlliancePhase.CANCELLED)


def get_counter(state: StateView) -> Counter:
    """Return the counts of alliances."""
    return ALLIANCE_COUNTER.get(state) or NOTHING_COUNTED


def get_alliance(state: StateView, alliance: int) -> Alliance:
    """Return the alliance; raises `NotFound`."""
    record = ALLIANCES.get(state, integer_bytes(alliance))
    if record is None:
        raise NotFound(f"there is no alliance {alliance}", alliance=alliance)
    return record


def put_alliance(state: Overlay, alliance: Alliance) -> None:
    """Set the alliance."""
    ALLIANCES.put(state, alliance, integer_bytes(alliance.id))


def scan_active_alliances(state: StateView) -> list[Alliance]:
    """Return the alliances that have not ended, by id."""
    return [get_alliance(state, int.from_bytes(key, "big")) for key, _ in ACTIVE_ALLIANCES.scan(state)]


def get_participant(state: StateView, alliance: int, address: bytes) -> Participant | None:
    """Return what an account is in the alliance, if it takes part."""
    return PARTICIPANTS.get(state, integer_bytes(alliance), address)


def put_participant(state: Overlay, alliance: int, address: bytes, participant: Participant) -> None:
    """Set a participant."""
    PARTICIPANTS.put(state, participant, integer_bytes(alliance), address)


def scan_participants(state: StateView, alliance: int) -> list[tuple[bytes, Participant]]:
    """Return everybody who takes part, those that are out included, sorted by address."""
    return list(PARTICIPANTS.scan(state, integer_bytes(alliance)))


def get_round(state: StateView, alliance: int, round: int) -> AllianceRound:
    """Return a round that began; raises `NotFound`."""
    record = ROUNDS.get(state, integer_bytes(alliance), integer_bytes(round))
    if record is None:
        raise NotFound(f"round {round} of alliance {alliance} has not begun", alliance=alliance, round=round)
    return record


def put_round(state: Overlay, alliance: Alliance, round: AllianceRound) -> None:
    """Set the alliance's current round."""
    ROUNDS.put(state, round, integer_bytes(alliance.id), integer_bytes(alliance.round))


def get_update(state: StateView, alliance: int, round: int, proposer: bytes) -> Update | None:
    """Return what a proposer trained, if it has."""
    return UPDATES.get(state, integer_bytes(alliance), integer_bytes(round), proposer)


def put_update(state: Overlay, alliance: int, round: int, proposer: bytes, update: Update) -> None:
    """Set what a proposer trained."""
    UPDATES.put(state, update, integer_bytes(alliance), integer_bytes(round), proposer)


def get_sheet(state: StateView, alliance: int, round: int, voter: bytes) -> VoterSheet:
    """Return what a voter has done in a round."""
    return VOTER_SHEETS.get(state, integer_bytes(alliance), integer_bytes(round), voter) or EMPTY_SHEET


def put_sheet(state: Overlay, alliance: int, round: int, voter: bytes, sheet: VoterSheet) -> None:
    """Set what a voter has done in a round."""
    VOTER_SHEETS.put(state, sheet, integer_bytes(alliance), integer_bytes(round), voter)


def get_sheets(state: StateView, alliance: Alliance, current: AllianceRound) -> dict[bytes, VoterSheet]:
    """Return the sheets of all voters of the current round, by address."""
    return {one.address: get_sheet(state, alliance.id, alliance.round, one.address) for one in current.voters}


def require_phase(state: StateView, alliance: int, round: int, *phases: AlliancePhase) -> Alliance:
    """Return the alliance if it is in this round and one of these phases; raises `WrongPhase` or `NotFound`."""
    record = get_alliance(state, alliance)
    if record.round != round or record.phase not in phases:
        wanted = " or ".join(phase.name.lower() for phase in phases)
        raise WrongPhase(
            f"alliance {alliance} is in round {record.round}, phase {record.phase.name.lower()}; "
            f"this needs round {round}, phase {wanted}",
            alliance=alliance,
        )
    return record
