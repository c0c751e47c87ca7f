"""Where every unit that a round paid comes from, and why every slash was taken: its settlement reckoned again.

Pure: state in, traces out. A trace that does not come to what was settled is a bug here or there, and so an assertion.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from msgspec.structs import replace

from protocol.crypto import integer_bytes
from protocol.errors import NotFound
from protocol.formulas import fees
from protocol.params import Params
from protocol.rules.alliance.absence import find_absent
from protocol.rules.alliance.judging import Judgement, Poll, get_ballots, judge_round, poll_updates
from protocol.rules.alliance.pool import divide_by_source
from protocol.rules.alliance.records import Alliance, AllianceRound, get_alliance, get_round, get_sheets
from protocol.rules.alliance.results import CLOSINGS, ROUND_RESULTS, AllianceRole, RoundResult, Settled
from protocol.rules.alliance.settlement import get_fee, list_roles, reckon
from protocol.rules.traces import Origins, Step
from protocol.state import StateView

NOTHING = Origins(emission=0, escrow=0, bounties=0, slashes=0)


class Kind(Enum):
    """What units were paid or taken for."""

    PROPOSING = "proposing"
    VOTING = "voting"
    AGGREGATING = "aggregating"
    REMAINDER = "remainder"
    LOST_VOTE = "lost vote"
    ABSENCE = "absence"
    FALSE_UPDATE = "false update"


SLASHES = (Kind.LOST_VOTE, Kind.ABSENCE, Kind.FALSE_UPDATE)


@dataclass(frozen=True, kw_only=True)
class CastVote:
    """A vote that bears on a trace: about a proposer's update, or the aggregate (None); scores in millionths."""

    voter: bytes
    about: bytes | None
    score: int | None
    best: int
    vote: int


@dataclass(frozen=True, kw_only=True)
class AllianceTrace:
    """One reward or one slash. Of a reward, `origins` add up to `units`; of a slash, `burned` and `kept` do.

    `round` is None for the remainder at the end.
    """

    alliance: int
    round: int | None
    account: bytes
    kind: Kind
    units: int
    origins: Origins
    burned: int
    kept: int
    steps: tuple[Step, ...]
    votes: tuple[CastVote, ...]


@dataclass(frozen=True)
class Replay:
    """A settled round with what its settlement saw; the alliance as it was then."""

    params: Params
    alliance: Alliance
    current: AllianceRound
    result: RoundResult
    judgement: Judgement
    votes: tuple[CastVote, ...]


def explain_round(state: StateView, params: Params, alliance: int, round: int) -> list[AllianceTrace]:
    """Return the trace of every reward and every slash of a settled round; raises `NotFound`."""
    replay = load_replay(state, params, get_alliance(state, alliance), round)
    rewards = [trace_reward(replay, one) for one in replay.result.settled if one.earned]
    return rewards + [trace_slash(replay, one) for one in replay.result.settled if one.slashed]


def explain_closing(state: StateView, alliance: int) -> list[AllianceTrace]:
    """Return the trace of every part of a finished alliance's remainder; raises `NotFound`."""
    closing = CLOSINGS.get(state, integer_bytes(alliance))
    if closing is None:
        raise NotFound(f"alliance {alliance} has not finished", alliance=alliance)
    return [
        AllianceTrace(
            alliance=alliance,
            round=None,
            account=one.address,
            kind=Kind.REMAINDER,
            units=one.units,
            origins=divide_by_source(one.units, closing.parts).origins(),
            burned=0,
            kept=0,
            steps=(
                Step(tag="VI.F", what="left in the pool", units=closing.pool),
                Step(tag="L5", what="stake", units=one.stake),
                Step(tag="L5", what="accepted rounds that it was right in", number=str(one.rounds)),
            ),
            votes=(),
        )
        for one in closing.paid
    ]


def load_replay(state: StateView, params: Params, alliance: Alliance, round: int) -> Replay:
    """Return a settled round as its settlement saw it; raises `NotFound`."""
    result = ROUND_RESULTS.get(state, integer_bytes(alliance.id), integer_bytes(round))
    if result is None:
        raise NotFound(f"round {round} of alliance {alliance.id} is not settled", alliance=alliance.id, round=round)
    then = replace(alliance, round=round, phase=result.last_phase)
    current, judgement = get_round(state, alliance.id, round), judge_round(state, then)
    stakes = {one.address: one.stake for one in result.settled}
    absent, roles = find_absent(state, then, current), list_roles(current, judgement)
    settled = reckon(params, then, judgement, result.reward, stakes, absent, roles)
    assert settled == result.settled, "the round was settled otherwise"
    return Replay(params, then, current, result, judgement, tuple(list_votes(state, then, current, judgement)))


def list_votes(
    state: StateView, alliance: Alliance, current: AllianceRound, judgement: Judgement
) -> Iterator[CastVote]:
    """Yield all votes of a round: about each update, then about the aggregate."""
    ballots = get_ballots(get_sheets(state, alliance, current))
    updates = poll_updates(alliance, current, ballots) if judgement.updates else {}
    polls: list[tuple[bytes | None, Poll]] = list(updates.items())
    if judgement.poll is not None:
        polls.append((None, judgement.poll))
    for about, poll in polls:
        for voter, vote in poll.votes.items():
            yield CastVote(voter=voter, about=about, score=poll.scores[voter], best=ballots[voter].best, vote=vote)


def votes_for(replay: Replay, one: Settled) -> tuple[CastVote, ...]:
    """Return the votes that a participant's merit comes from: its own, or those about what it proposed."""
    if one.role is AllianceRole.VOTER:
        return tuple(vote for vote in replay.votes if vote.voter == one.address)
    about = one.address if replay.result.updates else None
    return tuple(vote for vote in replay.votes if vote.about == about)


def trace_reward(replay: Replay, one: Settled) -> AllianceTrace:
    """Return how a reward came about."""
    result, fee = replay.result, get_fee(replay.params, replay.judgement, replay.result.reward)
    steps = (
        Step(tag="VI.F", what="in the pool before the round", units=result.pool),
        Step(tag="L6", what="an equal part for each round left", number=str(replay.alliance.rounds_left())),
        Step(tag="L6", what="what the round may pay", units=result.reward),
        *([Step(tag="VI.H", what="of it the aggregator's fee", units=fee)] if fee else []),
        *([] if one.role is AllianceRole.AGGREGATOR else share_steps(replay, one)),
    )
    return make_trace(
        replay, one, one.earned, kind_of(one), steps, divide_by_source(one.earned, result.parts).origins()
    )


def share_steps(replay: Replay, one: Settled) -> Iterator[Step]:
    """Yield what a proposer's or a voter's share of a round comes from."""
    others = [other for other in replay.result.settled if other.role is not AllianceRole.AGGREGATOR]
    gain = replay.judgement.gains.get(one.address)
    yield Step(tag="L5", what="stake at the draw, or now if that is less", units=one.stake)
    yield Step(tag="L5", what="stake of all selected", units=sum(other.stake for other in others))
    yield Step(tag="L5", what="merit in millionths", number=str(one.merit))
    if gain is not None:
        yield Step(tag="II.B", what="median gain in millionths", number=str(gain))


def kind_of(one: Settled) -> Kind:
    """Return what a reward is for."""
    return {
        AllianceRole.PROPOSER: Kind.PROPOSING,
        AllianceRole.VOTER: Kind.VOTING,
        AllianceRole.AGGREGATOR: Kind.AGGREGATING,
    }[one.role]


def trace_slash(replay: Replay, one: Settled) -> AllianceTrace:
    """Return how a slash came about: absence, or what the votes or a false update cost if that is more."""
    settings, params = replay.alliance.spec.settings, replay.params
    absence = fees.slash_amount(one.stake, slash_millionths=params.absence_slash_millionths)
    is_absence = one.is_absent and one.slashed == absence
    rate = params.absence_slash_millionths if is_absence else settings.slash_millionths
    steps = [
        Step(tag="L5", what="stake at the draw, or now if that is less", units=one.stake),
        Step(tag="VI.F" if is_absence else "L5", what="slash rate in millionths", number=str(rate)),
    ]
    if not is_absence:
        steps.append(Step(tag="L5", what="merit in millionths", number=str(one.merit)))
    verdict = Kind.FALSE_UPDATE if one.address in replay.judgement.liars else Kind.LOST_VOTE
    kind = Kind.ABSENCE if is_absence else verdict
    return make_trace(replay, one, one.slashed, kind, tuple(steps), NOTHING)


def make_trace(
    replay: Replay, one: Settled, units: int, kind: Kind, steps: tuple[Step, ...], origins: Origins
) -> AllianceTrace:
    """Return a reward or a slash with its parts, which must add up to it."""
    burned, kept = fees.split_fee(units if kind in SLASHES else 0, burn_millionths=replay.params.slash_burn_millionths)
    assert origins.total() + burned + kept == units, "the parts do not add up"
    return AllianceTrace(
        alliance=replay.alliance.id,
        round=replay.alliance.round,
        account=one.address,
        kind=kind,
        units=units,
        origins=origins,
        burned=burned,
        kept=kept,
        steps=steps,
        votes=votes_for(replay, one),
    )
