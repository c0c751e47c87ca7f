"""From the voters' sheets to what a round comes to: votes (L2 to L4), the outcome, and how far each was right (VI.E).

The ledger computes the votes, from each voter's score and that voter's own score of the best model, so nobody can vote
against its own numbers. A vote about an aggregate counts for the one that 2/3 of the voters named. Aggregation is
exact, so who named another one worked out something else: its scores say nothing about the model and count for nothing,
and it was wrong in all.

More than 1/3 of the voters can keep 2/3 from naming one model, and so make a round void; that is not free. Where more
than half of the round's voters named one, who named another was wrong in all of it, as in a round that counts: all
honest voters name the same, so it takes more than half of the voters to have an honest one slashed. Who names none is
absent, or says that it cannot have the sum of hidden updates, for which nobody but its aggregator may be to blame.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from protocol.blobs import BlobId
from protocol.fixed import MILLION
from protocol.formulas import alliance as formulas
from protocol.rules.alliance.commitments import Published, get_published, is_private
from protocol.rules.alliance.duties import votes_on_aggregate
from protocol.rules.alliance.records import (
    Alliance,
    AlliancePhase,
    AllianceRound,
    Ballot,
    Confirmation,
    VoterSheet,
    get_round,
    get_sheets,
)
from protocol.rules.alliance.results import JudgedUpdate, Outcome
from protocol.state import StateView


@dataclass(frozen=True)
class Poll:
    """The votes about one model and the scores that they come from, by voter; a score is None where it is no model."""

    votes: Mapping[bytes, int]
    scores: Mapping[bytes, int | None]

    @property
    def aggregate(self) -> int:
        """The sum of the votes (L3)."""
        return formulas.aggregate_vote([self.votes[voter] for voter in sorted(self.votes)])

    @property
    def is_accepted(self) -> bool:
        """Whether the votes take the model over (L4)."""
        return formulas.accepts(self.aggregate)

    @property
    def score(self) -> int | None:
        """The voters' median score, None where nobody could load it."""
        known = [score for score in self.scores.values() if score is not None]
        return formulas.median_score(known) if known else None

    def count(self, vote: int) -> int:
        """Return how many voted so."""
        return sum(own == vote for own in self.votes.values())


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a round came to. `merits` (L5) are of all whom the verdict pays or costs; when it is void, of liars alone.

    `model` is the aggregate that the votes of `poll` are about; `gains` are the medians of what accepted updates added.
    Where updates are hidden, `aggregator` is who earned the fee, `failed` are those whose turn came to nothing, and
    `liars` those whose update was shown not to be what they committed to.
    """

    outcome: Outcome
    merits: Mapping[bytes, int] = field(default_factory=dict)
    updates: tuple[JudgedUpdate, ...] = ()
    model: BlobId | None = None
    poll: Poll | None = None
    gains: Mapping[bytes, int] = field(default_factory=dict)
    aggregator: bytes | None = None
    failed: frozenset[bytes] = frozenset()
    liars: frozenset[bytes] = frozenset()


def judge_round(state: StateView, alliance: Alliance) -> Judgement:
    """Return what the current round came to, in whichever phase it ends. Without 2/3 of the voters it is void."""
    current = get_round(state, alliance.id, alliance.round)
    sheets = get_sheets(state, alliance, current)
    ballots = get_ballots(sheets)
    if is_private(alliance):
        return judge_private(alliance, current, sheets, get_published(state, alliance))
    if not formulas.is_quorum(len(ballots), of=len(current.voters)):
        return Judgement(outcome=Outcome.VOID)
    if votes_on_aggregate(alliance):
        return judge_aggregate(alliance, current, ballots, find_silent(sheets))
    return judge_updates(alliance, current, sheets, ballots, find_silent(sheets))


def find_silent(sheets: Mapping[bytes, VoterSheet]) -> dict[bytes, int]:
    """Return the merit of each voter that committed to a vote and did not show it: it was right in nothing."""
    return {voter: 0 for voter, sheet in sheets.items() if sheet.commitment is not None and sheet.ballot is None}


def get_ballots(sheets: Mapping[bytes, VoterSheet]) -> dict[bytes, Ballot]:
    """Return what the voters revealed, by voter."""
    return {voter: sheet.ballot for voter, sheet in sheets.items() if sheet.ballot is not None}


def take_poll(alliance: Alliance, scores: Mapping[bytes, int | None], ballots: Mapping[bytes, Ballot]) -> Poll:
    """Return the votes (L2) that scores come to, each against its voter's score of the best model."""
    votes = {
        voter: formulas.vote(
            score,
            best=ballots[voter].best,
            higher_is_better=alliance.spec.metric.higher_is_better,
            tolerance_millionths=alliance.spec.settings.tolerance_millionths,
            floor_millionths=alliance.spec.settings.score_floor_millionths,
        )
        for voter, score in scores.items()
    }
    return Poll(votes, scores)


def find_model(named: Mapping[bytes, BlobId], *, voters: int) -> BlobId | None:
    """Return the model that 2/3 of a round's voters named, if there is one."""
    counts = Counter(named.values())
    return next((model for model, count in counts.items() if formulas.is_quorum(count, of=voters)), None)


def find_deviants(named: Mapping[bytes, BlobId], *, voters: int) -> dict[bytes, int]:
    """Return the merit of who named another model than more than half of a round's voters did: it was right in nothing.

    For rounds in which 2/3 named none.
    """
    counts = Counter(named.values())
    model = next((model for model, count in counts.items() if formulas.is_majority(count, of=voters)), None)
    return {voter: 0 for voter, own in named.items() if model is not None and own != model}


# --- one vote on the aggregate, as printed ---------------------------------------------------------------------------


def judge_aggregate(
    alliance: Alliance, current: AllianceRound, ballots: Mapping[bytes, Ballot], silent: Mapping[bytes, int]
) -> Judgement:
    """Return what the votes on the aggregate of the frozen set came to; all its proposers share the verdict."""
    named = {voter: ballot.aggregate for voter, ballot in ballots.items() if ballot.aggregate is not None}
    model = find_model(named, voters=len(current.voters))
    if model is None:
        return Judgement(outcome=Outcome.VOID, merits=find_deviants(named, voters=len(current.voters)))
    agreeing = {voter: ballots[voter].scores[0] for voter in named if named[voter] == model}
    poll = take_poll(alliance, agreeing, ballots)
    merits = {
        **silent,
        **dict.fromkeys(ballots, 0),
        **{voter: formulas.agreement([vote], [poll.aggregate]) for voter, vote in poll.votes.items()},
        **dict.fromkeys(current.frozen, MILLION if poll.is_accepted else 0),
    }
    outcome = Outcome.ACCEPTED if poll.is_accepted else Outcome.REJECTED
    return Judgement(outcome=outcome, merits=merits, model=model, poll=poll)


# --- one vote on an aggregate that was proven ------------------------------------------------------------------------


def judge_private(
    alliance: Alliance, current: AllianceRound, sheets: Mapping[bytes, VoterSheet], published: Published | None
) -> Judgement:
    """Return what a round with hidden updates came to.

    Voters check that the published sum is the proven one, and that the accused lied. When 2/3 of them say that this is
    not so, or that they cannot have the sum, its aggregator failed. When there is no sum, for too few did not lie, and
    2/3 confirm that, the round is void and costs the liars what a rejected update does. Who was called unreadable is
    neither paid nor slashed, for nobody else can tell; nor does its aggregator earn the fee, so that leaving somebody
    out never pays.

    A round whose masked sum was rightly disputed is void as well, and costs its liars the same.
    """
    is_late = alliance.phase in (AlliancePhase.AGGREGATE, AlliancePhase.DISPUTE) and published is None
    failed = frozenset(one.address for one in current.aggregators[: current.turn + is_late])
    ballots = get_ballots(sheets)
    if published is None or not formulas.is_quorum(len(ballots), of=len(current.voters)):
        return blame_liars(find_liars(sheets), failed)
    refusals = sum(ballot.is_refusal() for ballot in ballots.values())
    if formulas.is_quorum(refusals, of=len(current.voters)):
        blamed = published.aggregator
        return Judgement(outcome=Outcome.VOID, merits={blamed: 0}, failed=failed | {blamed})
    if published.proven is None:
        is_confirmed = formulas.is_quorum(sum(not ballot.scores for ballot in ballots.values()), of=len(current.voters))
        return blame_liars(published.liars if is_confirmed else (), failed)
    summed = replace(current, frozen=published.proven.clients)
    verdict = judge_aggregate(alliance, summed, ballots, find_silent(sheets))
    if verdict.outcome is Outcome.VOID:
        return dataclasses.replace(verdict, failed=failed)
    return dataclasses.replace(
        verdict,
        merits={**verdict.merits, **dict.fromkeys(published.liars, 0)},
        aggregator=None if published.unreadable else published.aggregator,
        failed=failed,
        liars=frozenset(published.liars),
    )


def blame_liars(liars: Sequence[bytes], failed: frozenset[bytes]) -> Judgement:
    """Return a void round that costs its liars what a rejected update does."""
    return Judgement(outcome=Outcome.VOID, merits=dict.fromkeys(liars, 0), failed=failed, liars=frozenset(liars))


def find_liars(sheets: Mapping[bytes, VoterSheet]) -> tuple[bytes, ...]:
    """Return whose masked update contradicts its commitment, as 2/3 of the voters say alike; nobody without them."""
    counts = Counter(sheet.liars for sheet in sheets.values() if sheet.liars is not None)
    return next((liars for liars, count in counts.items() if formulas.is_quorum(count, of=len(sheets))), ())


# --- a vote on each update, then on the aggregate of the accepted ones -----------------------------------------------


def judge_updates(
    alliance: Alliance,
    current: AllianceRound,
    sheets: Mapping[bytes, VoterSheet],
    ballots: Mapping[bytes, Ballot],
    silent: Mapping[bytes, int],
) -> Judgement:
    """Return what the votes on each update and on the accepted ones' aggregate came to."""
    polls = poll_updates(alliance, current, ballots)
    merits = {
        **silent,
        **weigh_voters(ballots, list(polls.values())),
        **{proposer: MILLION if poll.is_accepted else 0 for proposer, poll in polls.items()},
    }
    if not current.accepted:
        return Judgement(outcome=Outcome.REJECTED, merits=merits, updates=describe(polls, {}))
    confirmed = {voter: sheet.confirmation for voter, sheet in sheets.items() if sheet.confirmation is not None}
    named = {voter: confirmation.model for voter, confirmation in confirmed.items()}
    model = find_model(named, voters=len(current.voters))
    if model is None:
        deviants = find_deviants(named, voters=len(current.voters))
        return Judgement(outcome=Outcome.VOID, merits=deviants, updates=describe(polls, {}))
    agreeing = {voter: confirmation for voter, confirmation in confirmed.items() if confirmation.model == model}
    poll = take_poll(alliance, {voter: one.score for voter, one in agreeing.items()}, ballots)
    gains = get_gains(current, list(agreeing.values()))
    return Judgement(
        outcome=Outcome.ACCEPTED if poll.is_accepted else Outcome.REJECTED,
        merits={**merits, **dict.fromkeys(confirmed.keys() - agreeing.keys(), 0)},
        updates=describe(polls, gains),
        model=model,
        poll=poll,
        gains=gains,
    )


def poll_updates(alliance: Alliance, current: AllianceRound, ballots: Mapping[bytes, Ballot]) -> dict[bytes, Poll]:
    """Return the votes on each frozen update, by proposer; ballots have the scores in the same order."""
    return {
        proposer: take_poll(alliance, {voter: ballot.scores[place] for voter, ballot in ballots.items()}, ballots)
        for place, proposer in enumerate(current.frozen)
    }


def weigh_voters(ballots: Mapping[bytes, Ballot], polls: Sequence[Poll]) -> dict[bytes, int]:
    """Return the part of the outcomes that each voter agreed with, in millionths."""
    aggregates = [poll.aggregate for poll in polls]
    return {voter: formulas.agreement([poll.votes[voter] for poll in polls], aggregates) for voter in ballots}


def get_gains(current: AllianceRound, confirmations: Sequence[Confirmation]) -> dict[bytes, int]:
    """Return the median of what each accepted update adds to the score, by proposer; none where nobody asks for it."""
    columns = zip(*(confirmation.gains for confirmation in confirmations), strict=True)
    gains = [formulas.median_score(column) for column in columns]
    return dict(zip(current.accepted, gains, strict=True)) if gains else {}


def describe(polls: Mapping[bytes, Poll], gains: Mapping[bytes, int]) -> tuple[JudgedUpdate, ...]:
    """Return what is kept of the votes on updates."""
    return tuple(
        JudgedUpdate(
            proposer=proposer,
            in_favour=poll.count(1),
            against=poll.count(-1),
            score=poll.score,
            gain=gains.get(proposer),
            is_accepted=poll.is_accepted,
        )
        for proposer, poll in polls.items()
    )
