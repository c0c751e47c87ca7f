"""What a block did to alliances, in sentences: a pure function of the state before and after."""

from collections.abc import Callable, Iterator, Mapping

from flocknode.rpc.records import AllianceEvent
from protocol.crypto import integer_bytes
from protocol.formulas.alliance import is_better
from protocol.rules.alliance.absence import has_trained
from protocol.rules.alliance.commitments import get_published, is_masked
from protocol.rules.alliance.masks import find_unopened
from protocol.rules.alliance.records import (
    ALLIANCES,
    Alliance,
    AlliancePhase,
    AllianceRound,
    Selected,
    get_round,
    get_sheet,
    get_update,
    scan_participants,
)
from protocol.rules.alliance.results import ROUND_RESULTS, AllianceRole, Outcome, RoundResult
from protocol.state import StateView

MILLION = 10**6

Namer = Callable[[bytes], str]
# Of what, in which round (from 0), which phase, and the sentence.
Sentence = tuple[Alliance, int, str, str]


def tell_alliances(
    before: StateView, after: StateView, changes: Mapping[bytes, bytes | None], name: Namer
) -> Iterator[Sentence]:
    """Yield what a block's changes did to alliances: rounds that were settled, phases that began."""
    for key in sorted(key for key in changes if key.startswith(ALLIANCES.prefix)):
        number = key.removeprefix(ALLIANCES.prefix)
        old, alliance = ALLIANCES.get(before, number), ALLIANCES.get(after, number)
        if alliance is None or (old is not None and _get_place(old) == _get_place(alliance)):
            continue
        if old is not None:
            result = ROUND_RESULTS.get(after, number, integer_bytes(old.round))
            if result is not None and ROUND_RESULTS.get(before, number, integer_bytes(old.round)) is None:
                outcome = result.outcome.name.lower()
                yield alliance, old.round, outcome, describe_result(result, old, alliance, name)
        yield alliance, alliance.round, alliance.phase.name.lower(), describe_phase(after, alliance, name)


def _get_place(alliance: Alliance) -> tuple[int, AlliancePhase, int]:
    # A phase may follow itself, when the next aggregator has its turn.
    return alliance.round, alliance.phase, alliance.phase_height


def make_alliance_event(
    alliance: Alliance, *, height: int, index: int, round: int, phase: str, text: str
) -> AllianceEvent:
    """Return the event of an alliance; `index` is its place among those of its height."""
    return AllianceEvent(
        height=height, index=index, alliance=alliance.id, name=alliance.spec.name, round=round, phase=phase, text=text
    )


def describe_phase(view: StateView, alliance: Alliance, name: Namer) -> str:
    """Return what a phase that just began waits for, or how the alliance ended."""
    match alliance.phase:
        case AlliancePhase.OPENING:
            return (
                f"alliance {alliance.id} created by {name(alliance.creator)}, {alliance.spec.settings.rounds} rounds; "
                f"waits for {alliance.spec.participants} participants"
            )
        case AlliancePhase.FINISHED:
            return "its rounds are over: the rest of the pool is paid, stakes unbond"
        case AlliancePhase.EXPIRED:
            return "too few participants came, or nobody verified it: everything is returned"
        case AlliancePhase.CANCELLED:
            return f"{name(alliance.creator)} called it off: everything is returned"
        case AlliancePhase.DRAW:
            standing = sum(1 for _, one in scan_participants(view, alliance.id) if not one.is_out)
            return f"{standing} participants; the beacon draws who trains and who judges"
        case _:
            return describe_step(view, alliance, name)


def describe_step(view: StateView, alliance: Alliance, name: Namer) -> str:
    """Return what a step of a round that just began waits for."""
    number, current = alliance.round, get_round(view, alliance.id, alliance.round)
    sheets = [get_sheet(view, alliance.id, number, one.address) for one in current.voters]
    match alliance.phase:
        case AlliancePhase.TRAIN if current.dropped:
            gone, left = list_names(current.dropped, name), list_names(current.proposers, name)
            return f"again without {gone}: {left} commit anew to what they trained"
        case AlliancePhase.TRAIN:
            return f"{list_names(current.proposers, name)} train; {list_names(current.voters, name)} judge"
        case AlliancePhase.HOLD:
            made = sum(get_update(view, alliance.id, number, one.address) is not None for one in current.proposers)
            return f"{made} of {len(current.proposers)} updates are there; the voters fetch them"
        case AlliancePhase.SEAL:
            made = sum(has_trained(view, alliance, one.address) for one in current.proposers)
            if is_masked(alliance):
                return f"{made} of {len(current.proposers)} committed; they mask their updates with one another's keys"
            return f"{made} of {len(current.proposers)} committed; they seal updates to {name_turn(current, name)}"
        case AlliancePhase.AGGREGATE if is_masked(alliance):
            return f"{len(current.frozen)} masked updates are there; {name_turn(current, name)} adds them"
        case AlliancePhase.AGGREGATE:
            return f"{len(current.frozen)} sealed updates count; {name_turn(current, name)} sums them under a proof"
        case AlliancePhase.VOTE if current.aggregators and not has_sum(view, alliance):
            return "too few are left to hide each other, so there is no sum; the voters check who is accused"
        case AlliancePhase.VOTE if is_masked(alliance):
            return (
                "the sum is published, Enc(w) hashed on the log; the voters see that one opens the other, and score it"
            )
        case AlliancePhase.VOTE if current.aggregators:
            return "the sum is proven and hashed on the log; the voters score it unseen"
        case AlliancePhase.VOTE:
            return f"{len(current.frozen)} updates count, which 2/3 of the voters hold; they score them unseen"
        case AlliancePhase.REVEAL:
            return f"{sum(sheet.commitment is not None for sheet in sheets)} of {len(sheets)} voters committed"
        case AlliancePhase.DISPUTE:
            return f"{name_turn(current, name)} says that the sum does not open Enc(w); the voters add it up themselves"
        case AlliancePhase.UNMASK:
            clients = tuple(one for one in current.proposers if one.address in current.frozen)
            return f"2/3 of the voters say so too: {list_names(clients, name)} open their masks"
        case AlliancePhase.VERDICT:
            silent = len(find_unopened(view, alliance))
            return (
                f"{silent} masks stayed closed; the voters work out who lied"
                if silent
                else "the voters work out who lied"
            )
        case _:
            return f"{len(current.accepted)} of {len(current.frozen)} updates are accepted; the voters aggregate them"


def has_sum(view: StateView, alliance: Alliance) -> bool:
    """Return whether the sum of the round's hidden updates is on the log."""
    published = get_published(view, alliance)
    return published is not None and published.proven is not None


def name_turn(current: AllianceRound, name: Namer) -> str:
    """Return the name of the aggregator whose turn it is."""
    aggregator = current.aggregator()
    assert aggregator is not None, "a private round without an aggregator"
    return name(aggregator)


def list_names(selected: tuple[Selected, ...], name: Namer) -> str:
    """Return the names of some participants."""
    return ", ".join(name(one.address) for one in selected)


def describe_result(result: RoundResult, before: Alliance, after: Alliance, name: Namer) -> str:
    """Return a settled round in a line: what was accepted, who was absent or lied, the score, the best one so far."""
    voters = sum(one.role is AllianceRole.VOTER and not one.is_absent for one in result.settled)
    text = f"{describe_updates(result)}, {voters} voters"
    absent = [name(one.address) for one in result.settled if one.is_absent]
    if absent:
        text += f", absent: {', '.join(absent)}"
    # In a void round a proposer that was there is slashed for nothing else.
    proposers = [one for one in result.settled if one.role is AllianceRole.PROPOSER]
    liars = [name(one.address) for one in proposers if one.slashed and not one.is_absent]
    if liars and result.outcome is Outcome.VOID:
        text += f", shown to lie: {', '.join(liars)}"
    if result.score is None:
        return text
    direction = before.spec.metric.higher_is_better
    if result.outcome is not Outcome.ACCEPTED or after.best is None or after.best.score != result.score:
        return f"{text}  score {result.score / MILLION:.4f}{describe_best(after)}"
    if before.best is None or not is_better(result.score, before.best.score, higher_is_better=direction):
        return f"{text}  best {result.score / MILLION:.4f}"
    return f"{text}  best {result.score / MILLION:.4f} ({(result.score - before.best.score) / MILLION:+.4f})"


def describe_updates(result: RoundResult) -> str:
    """Return how many updates were accepted of those proposed; where only the aggregate counted, the votes on it."""
    proposers = sum(one.role is AllianceRole.PROPOSER for one in result.settled)
    if result.updates or not result.in_favour + result.against:
        return f"{sum(update.is_accepted for update in result.updates)} of {proposers} updates"
    return f"{proposers} proposers, aggregate {result.in_favour} to {result.against}"


def describe_best(alliance: Alliance) -> str:
    """Return the best accepted score, if there is one."""
    return "" if alliance.best is None else f"  best {alliance.best.score / MILLION:.4f}"
