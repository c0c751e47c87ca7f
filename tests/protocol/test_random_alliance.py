"""Whatever people send to alliances in whatever order: nothing crashes, no unit is lost, and every alliance ends."""

import dataclasses
from collections.abc import Callable
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from protocol.alliance_acts import (
    AccuseMasked,
    AlliancePayload,
    CancelAlliance,
    ConfirmAggregate,
    CreateAlliance,
    DisputeMasked,
    FundAlliance,
    HoldUpdates,
    JoinAlliance,
    JudgeSum,
    LeaveAlliance,
    ProposeUpdate,
    PublishAggregate,
    PublishMasked,
    TopUpStake,
    VerifyAlliance,
)
from protocol.alliance_settings import Attribution, Privacy, RewardRule
from protocol.blobs import BlobId
from protocol.blocks import Block
from protocol.codec import decode, encode
from protocol.params import DEVNET
from protocol.rules.alliance.duties import (
    AccuseOwnLiars,
    AggregateUpdates,
    CommitOwnUpdate,
    ConfirmOwnAggregate,
    FetchUpdates,
    JudgeOwnSum,
    OpenOwnMask,
    RevealOwnUpdate,
    RevealOwnVote,
    ShareOwnMasked,
    TrainUpdate,
    VoteOnUpdates,
    get_alliance_duties,
)
from protocol.rules.alliance.explaining import explain_closing, explain_round
from protocol.rules.alliance.records import (
    ALLIANCES,
    AlliancePhase,
    Ballot,
    get_alliance,
    get_round,
    get_update,
    scan_active_alliances,
    scan_participants,
)
from protocol.rules.alliance.results import CLOSINGS, ROUND_RESULTS
from protocol.zk.knowledge import CommittedUpdate
from tests.alliance_play import STEP_MS, AlliancePlay, make_spec, run_task, verified
from tests.ledger_driver import FML, Ledger, Person, seed_of
from tests.ledger_invariants import expect_sound
from tests.masked_play import MaskedPlay
from tests.private_play import ZK, PrivatePlay
from tests.protocol.test_random_play import TIMES_MS, Shuffled
from tests.record_strategies import any_of

PEOPLE = 9
# Losers and absent ones are soon below the threshold, and few blocks pass until the end.
SETTINGS = replace(DEVNET.alliance.settings, rounds=3, slash_millionths=300_000, threshold_millionths=800_000)
PARAMS = replace(
    DEVNET,
    absence_slash_millionths=250_000,
    alliance=replace(DEVNET.alliance, settings=SETTINGS, max_periods=3, max_participants=PEOPLE, zk=ZK),
)
SCORES = st.sampled_from([None, -(10**12), 0, 300_000, 800_000, 10**12])
UNITS = st.sampled_from([0, 1, FML - 1, FML, 20 * FML, 64 * FML, 2**62])
CHOICES = [
    *("join", "join", "leave", "top up", "fund", "govern", "garbage"),
    *("duties", "duties", "everybody", "everybody", "everybody"),
]


def list_masked_stages(play: MaskedPlay) -> list[list[Callable[[], object]]]:
    """Return what may follow the training: a vote on the sum, the search for a liar, a round that runs again."""
    return [
        [play.seal, play.hold, play.publish, play.commit, play.reveal],
        [lambda: play.seal(spoiled=play.proposers()[:1]), play.hold, play.dispute, play.judge, play.unmask],
        [lambda: play.seal(play.proposers()[1:]), play.train, play.seal, play.hold, play.publish],
    ]


class Chaos:
    """Two alliances in which each step is drawn: one verified and from a task's winner, one that pays for itself."""

    def __init__(self, data: st.DataObject, privacy: Privacy) -> None:
        self.draw, self.privacy = data.draw, privacy
        # About one of so many acts goes wrong.
        self.care = self.draw(st.sampled_from([3, 12, 60]))
        people = [Person(f"participant {number}") for number in range(PEOPLE)]
        ledger = run_task(people, params=PARAMS)
        self.play = verified(ledger=ledger, participants=PEOPLE - 2)
        self.own = self.create_own(ledger, self.draw(st.sampled_from([1, 7, 1_000 * FML])))
        self.people = [*people, self.play.creator, self.play.stranger]
        self.ledger = ledger
        self.ballots: dict[tuple[bytes, int, int], Ballot] = {}

    def create_own(self, ledger: Ledger, escrow: int) -> AlliancePlay:
        """Create an alliance that hides or masks its updates, or shows them, with any attribution and reward."""
        if self.privacy is not Privacy.CLEAR:
            kind = MaskedPlay if self.privacy is Privacy.MASKED else PrivatePlay
            return kind(ledger=ledger, participants=PEOPLE - 1, rounds=3, params=PARAMS, escrow=escrow)
        attribution = self.draw(st.sampled_from(Attribution))
        rule = RewardRule.STAKE if attribution is Attribution.AGGREGATE else self.draw(st.sampled_from(RewardRule))
        spec = make_spec(replace(SETTINGS, attribution=attribution, reward=rule))
        return AlliancePlay(ledger=ledger, spec=spec, escrow=escrow)

    def is_wrong(self) -> bool:
        """Return whether an act goes wrong."""
        return self.draw(st.integers(0, self.care)) == self.care

    @property
    def alliance(self) -> int:
        return self.draw(st.integers(1, 2))

    def begin(self) -> None:
        """Let most join both, so that something can happen."""
        for play in (self.play, self.own):
            for person in self.people[: PEOPLE - 1]:
                self.ledger.send(person, JoinAlliance(play.alliance, self.draw(st.sampled_from([1, 10**9])), 20))
        self.block()

    def lead(self, steps: int) -> None:
        """Lead the alliance that pays for itself through so many steps of its first round."""
        play = self.own
        stages = [play.draw, play.train, play.hold, play.commit, play.reveal, play.confirm]
        if isinstance(play, PrivatePlay):
            stages = [play.draw, play.train, play.seal, play.hold, play.publish, play.commit, play.reveal]
        if isinstance(play, MaskedPlay):
            stages[2:] = self.draw(st.sampled_from(list_masked_stages(play)))
        for stage in stages[:steps]:
            stage()

    def step(self) -> None:
        """Do one thing, and now and then make a block."""
        person = self.draw(st.sampled_from(self.people))
        match self.draw(st.sampled_from(CHOICES)):
            case "join":
                self.ledger.send(person, JoinAlliance(self.alliance, 1, self.draw(st.sampled_from([19, 20]))))
            case "leave":
                self.ledger.send(person, LeaveAlliance(self.alliance))
            case "top up":
                self.ledger.send(person, TopUpStake(self.alliance, self.draw(UNITS.filter(bool))))
            case "fund":
                self.ledger.send(person, FundAlliance(self.alliance, self.draw(UNITS.filter(bool))))
            case "govern":
                acts = (VerifyAlliance(self.alliance), CancelAlliance(self.alliance))
                sender = self.draw(st.sampled_from([self.play.governor, self.play.creator]))
                self.ledger.send(sender, self.draw(st.sampled_from(acts)))
            case "garbage":
                kind = self.draw(st.sampled_from(get_args(AlliancePayload)))
                self.ledger.send(person, self.aimed(self.draw(any_of(kind))))
            case "duties":
                self.do_duties(person)
            case "everybody":
                for other in self.people:
                    self.do_duties(other)
        if self.draw(st.booleans()):
            self.block()

    def aimed(self, payload):
        """Return a random payload that names an alliance and a round which exist, if it names any."""
        alliance = self.alliance
        if "alliance" in payload.__struct_fields__:
            payload = replace(payload, alliance=alliance)
        if "round" in payload.__struct_fields__:
            payload = replace(payload, round=get_alliance(self.ledger.state, alliance).round)
        if isinstance(payload, CreateAlliance):
            payload = replace(payload, spec=self.own.spec, escrow=self.draw(UNITS))
        if isinstance(payload, HoldUpdates):
            payload = replace(payload, proposers=tuple(sorted(set(payload.proposers))))
        if isinstance(payload, AccuseMasked):
            payload = replace(payload, liars=tuple(sorted(set(payload.liars))))
        return payload

    def do_duties(self, person: Person) -> None:
        """Queue what a person should do now, now and then wrongly or not at all."""
        for duty in get_alliance_duties(self.ledger.state, person.address):
            if self.is_wrong():
                continue
            alliance, round = duty.alliance, duty.round
            play = self.play if alliance == 1 else self.own
            match duty:
                case TrainUpdate():
                    blob = BlobId(seed_of(person.name, round, alliance), 0 if self.is_wrong() else 2_000)
                    self.ledger.send(person, ProposeUpdate(alliance, round, blob))
                case CommitOwnUpdate():
                    committed = play.commit_update(person)
                    self.ledger.send(person, replace(committed, update=self.choose_committed(play, person)))
                case RevealOwnUpdate():
                    reveal = play.revealed(person)
                    self.ledger.send(person, replace(reveal, box=bytes(80)) if self.is_wrong() else reveal)
                case AggregateUpdates() if isinstance(play, MaskedPlay):
                    self.ledger.send(person, self.choose_sum(play))
                case AggregateUpdates():
                    self.ledger.send(person, self.choose_aggregate(play))
                case ShareOwnMasked():
                    share = play.shared(person, is_spoiled=self.is_wrong())
                    short = replace(share.blob, length=share.blob.length - 1)
                    self.ledger.send(person, replace(share, blob=short) if self.is_wrong() else share)
                case JudgeOwnSum():
                    self.ledger.send(person, JudgeSum(alliance, round, play.does_open() != self.is_wrong()))
                case OpenOwnMask():
                    other = self.draw(st.sampled_from(play.proposers())) if self.is_wrong() else person
                    self.ledger.send(person, play.opened(other))
                case AccuseOwnLiars():
                    named = [self.draw(st.sampled_from(play.proposers())).address] if self.is_wrong() else None
                    self.ledger.send(person, play.accusing(named))
                case FetchUpdates():
                    self.ledger.send(person, HoldUpdates(alliance, round, self.choose_held(alliance, round)))
                case VoteOnUpdates():
                    key = (person.address, alliance, round)
                    self.ballots[key] = self.choose_ballot(play)
                    play.send_commitment(person, self.ballots[key])
                case RevealOwnVote() if (person.address, alliance, round) in self.ballots:
                    self.ledger.send(person, play.reveal_of(person, self.ballots[person.address, alliance, round]))
                case ConfirmOwnAggregate():
                    self.ledger.send(person, self.choose_confirmation(play))

    def choose_committed(self, play: PrivatePlay, person: Person) -> CommittedUpdate:
        """Return a commitment, now and then somebody else's."""
        return play.committed(self.draw(st.sampled_from(play.proposers())) if self.is_wrong() else person)

    def choose_aggregate(self, play: PrivatePlay) -> PublishAggregate:
        """Return a proven sum, now and then without somebody, or accusing somebody, rightly or not."""
        frozen = play.people_at(play.round_record.frozen)
        if not self.is_wrong():
            return play.aggregate()
        chosen = frozen[: self.draw(st.integers(1, len(frozen)))]
        accused = {person: self.draw(st.sampled_from([None, play.key(person), bytes(32)])) for person in chosen}
        payload = play.aggregate(accused=accused)
        return replace(payload, accused=()) if self.is_wrong() else payload

    def choose_sum(self, play: MaskedPlay) -> PublishMasked | DisputeMasked:
        """Return the sum of masked updates, or a dispute of one that does not open; now and then the other."""
        dispute = DisputeMasked(play.alliance, play.round)
        return play.summed() if play.does_open() != self.is_wrong() else dispute

    def choose_held(self, alliance: int, round: int) -> tuple[bytes, ...]:
        """Return the proposers whose updates a voter holds: most of those that there are."""
        proposers = [one.address for one in get_round(self.ledger.state, alliance, round).proposers]
        there = [one for one in proposers if get_update(self.ledger.state, alliance, round, one) is not None]
        return tuple(one for one in there if not self.is_wrong())

    def choose_ballot(self, play: AlliancePlay) -> Ballot:
        """Return any scores, mostly as many as are asked for."""
        best = -(10**12) if self.is_wrong() else 800_000
        honest = play.ballot(best=best)
        scores = tuple(self.draw(SCORES) if self.is_wrong() else score for score in honest.scores)
        if self.is_wrong():
            scores = (*scores, 1)
        if isinstance(play, PrivatePlay) and self.is_wrong():
            return Ballot(best, self.draw(st.sampled_from([(None,), ()])), None)
        aggregate = honest.aggregate
        if aggregate is not None and self.is_wrong():
            aggregate = BlobId(bytes(32), 1)
        return replace(honest, scores=scores, aggregate=aggregate)

    def choose_confirmation(self, play: AlliancePlay) -> ConfirmAggregate:
        """Return an aggregate, mostly the one that the others name, with any gains."""
        honest = play.confirmation()
        model = BlobId(bytes(32), 1) if self.is_wrong() else honest.model
        gains = tuple(self.draw(st.sampled_from([-(10**12), 0, 10_000, 10**12])) for _ in honest.gains)
        score = self.draw(SCORES.filter(lambda score: score is not None)) if self.is_wrong() else honest.score
        return replace(honest, model=model, score=score, gains=gains)

    def block(self) -> None:
        """Make a block, whoever's turn it is, and check what must always hold."""
        self.ledger.block(after_ms=self.draw(TIMES_MS), round=self.draw(st.integers(0, 5)))
        expect_sound(self.ledger.state)

    def finish(self) -> None:
        """Let nobody do anything more: every alliance must end all the same."""
        state = self.ledger.state
        self.ledger.run_until(lambda: not scan_active_alliances(state), after_ms=STEP_MS, limit=600)
        self.ledger.block(after_ms=PARAMS.unbonding_ms)
        expect_sound(state)
        self.expect_explained()
        self.expect_replayed()

    def expect_explained(self) -> None:
        """Assert that all that alliances paid and took is traced to its parts."""
        state = self.ledger.state
        for key, alliance in ALLIANCES.scan(state):
            traces = [
                trace
                for round, _ in ROUND_RESULTS.scan(state, key)
                for trace in explain_round(state, PARAMS, alliance.id, int.from_bytes(round, "big"))
            ]
            if CLOSINGS.get(state, key) is not None:
                traces += explain_closing(state, alliance.id)
            earned, slashed = (
                sum(t.units for t in traces if bool(t.origins.total()) is side) for side in (True, False)
            )
            members = [member for _, member in scan_participants(state, alliance.id)]
            # Those that left took the account of theirs with them.
            assert earned >= sum(member.earned for member in members)
            assert slashed >= sum(member.slashed for member in members)
            assert alliance.phase is AlliancePhase.FINISHED or not traces

    def expect_replayed(self) -> None:
        """Assert that the blocks alone give the same bytes, also when changes are written in another order."""
        again = Ledger(*self.ledger.people, params=PARAMS, governance=self.play.governor)
        again.state = Shuffled(again.state.records)
        again.before = dataclasses.replace(again.before, view=again.state)
        for block in self.ledger.blocks:
            again.apply(decode(encode(block), Block))
        assert again.state.records == self.ledger.state.records
        assert again.before.head == self.ledger.before.head


@pytest.mark.parametrize("privacy", Privacy)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_sent_money_is_kept_and_alliances_end(privacy, data):
    """Random steps from two alliances that open, or from the middle of a round of one, and then silence."""
    chaos = Chaos(data, privacy)
    led = data.draw(st.integers(0, 8), label="led")
    if led:
        chaos.begin()
        chaos.lead(led - 1)
    for _ in range(data.draw(st.integers(10, 60), label="steps")):
        chaos.step()
    chaos.finish()
