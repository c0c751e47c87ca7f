"""From the revealed score sheets to one judgement per submission (white paper V.E): verdict, score, originality."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from protocol.fixed import scaled
from protocol.formulas import arena as formulas
from protocol.params import Params
from protocol.rules import purses
from protocol.rules.arena.copies import (
    Known,
    Origin,
    Original,
    extend_gallery,
    get_origin,
    load_known,
    put_origin,
)
from protocol.rules.arena.records import Epoch, Submission, Task, get_epoch, scan_opened, scan_sheets
from protocol.rules.context import Context
from protocol.state import Overlay, StateView
from protocol.transactions import ScoreEntry, Verdict


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the drawn validators together say of one opened submission.

    `score` is the consensus in millionths, None without one; `kept` are the scores by validator that made it, `ignored`
    the validators whose scores did not count, `overruled` those who called invalid what a great majority scored;
    `duplicate_of` names the submission that this one copies, if it does.
    `is_judged` tells whether any stake at all says what the model is worth, be it that it is worth nothing, and
    `beats_baseline` whether it is worth more than what needs no learning.
    """

    tag: bytes
    submission: Submission
    verdict: Verdict | None
    score: Decimal | None
    kept: Mapping[bytes, int]
    ignored: tuple[bytes, ...]
    overruled: tuple[bytes, ...]
    root: bytes | None
    duplicate_of: bytes | None
    is_judged: bool
    beats_baseline: bool

    def is_ranked(self) -> bool:
        """Return whether the submission competes: better than the baseline, original, and owned up to."""
        return self.beats_baseline and self.duplicate_of is None and self.submission.author is not None


def count_stakes(state: StateView, task: Task, epoch: Epoch) -> dict[bytes, int]:
    """Return the stake each drawn validator counts with: the lesser of those at the draw and now."""
    return {juror.address: min(juror.stake, purses.count_stake(state, task.id, juror.address)) for juror in epoch.drawn}


def judge_submissions(state: StateView, context: Context, task: Task, stakes: Mapping[bytes, int]) -> list[Judgement]:
    """Return one judgement per opened submission, in the order they were entered: the first of a cluster is its own."""
    sheets = {
        validator: {entry.tag: entry for entry in sheet.entries}
        for validator, sheet in scan_sheets(state, task.id, task.epoch)
        if sheet.entries is not None
    }
    judgements: list[Judgement] = []
    known = load_known(state, task)
    opened = sorted(scan_opened(state, task.id, task.epoch), key=lambda item: item[1].order)
    for tag, submission in opened:
        entries = {validator: entries[tag] for validator, entries in sheets.items()}
        judgement = judge(task, tag, submission, entries, stakes, context.params)
        judgements.append(with_originality(judgement, judgements, known, context.params, entries, stakes))
    return judgements


def judge(
    task: Task,
    tag: bytes,
    submission: Submission,
    entries: Mapping[bytes, ScoreEntry],
    stakes: Mapping[bytes, int],
    params: Params,
) -> Judgement:
    """Return the verdict and consensus score of one submission; those who abstain ("unfetchable") say nothing of it.

    If they have half of the stake that revealed or more, nothing counts: it was not available.
    """
    verdicts = {
        validator: bytes([entry.verdict])
        for validator, entry in entries.items()
        if entry.verdict is not Verdict.UNFETCHABLE
    }
    held, revealed = (sum(stakes[validator] for validator in some) for some in (verdicts, entries))
    is_available = formulas.is_available(held, revealed=revealed)
    choice = formulas.majority_choice(verdicts, stakes=stakes)
    verdict = None if choice is None else Verdict(choice[0])
    if entries and not is_available:
        verdict = Verdict.UNFETCHABLE
    scored = {v: entry.score for v, entry in entries.items() if entry.verdict is Verdict.SCORED}
    score, kept = formulas.judge_submission(
        scored,
        author=submission.author,
        stakes=stakes,
        floor_millionths=params.score_floor_millionths,
        aggregation=task.spec.settings.aggregation,
    )
    is_scored = verdict is Verdict.SCORED
    condemning = sorted(v for v, entry in entries.items() if entry.verdict is Verdict.INVALID)
    is_overruled = formulas.is_overruled(sum(stakes[v] for v in scored), drawn=sum(stakes.values()))
    final = score if is_scored else None
    return Judgement(
        tag=tag,
        submission=submission,
        verdict=verdict,
        score=final,
        kept=kept if is_scored else {},
        ignored=tuple(sorted(scored.keys() - kept.keys())) if is_scored else (),
        overruled=tuple(condemning) if scored and is_overruled else (),
        root=formulas.majority_choice(
            {v: entry.root for v, entry in entries.items() if entry.root is not None}, stakes=stakes
        ),
        duplicate_of=None,
        is_judged=is_available,
        beats_baseline=final is not None
        and formulas.is_improvement(
            final, over=Decimal(task.baseline()), min_improvement_millionths=params.min_improvement_millionths
        ),
    )


def with_originality(
    judgement: Judgement,
    earlier: list[Judgement],
    known: Known,
    params: Params,
    entries: Mapping[bytes, ScoreEntry],
    stakes: Mapping[bytes, int],
) -> Judgement:
    """Return the judgement marked as a copy when it is one: the same plaintext, or near an earlier model.

    Models of earlier epochs come first, and their authors may enter them again. A near-duplicate still competes if it
    beats the first of its cluster by `min_improvement`: within the epoch the scores here decide that; a model of an
    earlier one has no score on this epoch's dataset, so validators name it only if it was not beaten.
    """
    choices = {v: entry.duplicate_of or b"" for v, entry in entries.items() if entry.verdict is Verdict.SCORED}
    near_tag = formulas.majority_choice(choices, stakes=stakes)
    origin = known.find(root=judgement.root, near=near_tag)
    if origin is not None:
        is_own = origin.author is not None and origin.author == judgement.submission.author
        return judgement if is_own else replace(judgement, duplicate_of=origin.tag)
    same = next((other for other in earlier if judgement.root is not None and other.root == judgement.root), None)
    if same is not None:
        return marked_as_copy(judgement, same)
    near = next((other for other in earlier if other.tag == near_tag), None)
    if near is None or judgement.score is None or near.score is None:
        return judgement
    if formulas.is_improvement(
        judgement.score, over=near.score, min_improvement_millionths=params.min_improvement_millionths
    ):
        return judgement
    return marked_as_copy(judgement, near)


def marked_as_copy(judgement: Judgement, original: Judgement) -> Judgement:
    """Return the judgement as a copy of what the original itself is a copy of, or of the original."""
    return replace(judgement, duplicate_of=original.duplicate_of or original.tag)


def remember_models(state: Overlay, context: Context, task: Task, judgements: list[Judgement]) -> None:
    """Note whose the epoch's models are, so that later epochs know them; in the order they were entered."""
    known = load_known(state, task)
    origins: dict[bytes, Origin] = {}
    originals = []
    for judgement in judgements:
        if judgement.score is None or judgement.root is None:
            continue
        origin: Origin | None
        if judgement.duplicate_of is not None:
            origin = origins.get(judgement.duplicate_of) or known.find(root=judgement.root, near=judgement.duplicate_of)
        else:
            origin = first = Origin(task.epoch, judgement.tag, judgement.submission.author)
            if get_origin(state, task.id, judgement.root) is None:
                originals.append(Original(first, scaled(judgement.score, scale=1)))
        if origin is not None:
            origins[judgement.tag] = origin
            put_origin(state, task.id, judgement.root, origin)
    extend_gallery(state, task.id, originals, limit=context.params.max_originals)


def get_epoch_stakes(state: StateView, task: Task) -> dict[bytes, int]:
    """Return the stake each seated trainer counts with: the lesser of those at the epoch's begin and now."""
    return {
        seat.address: min(seat.stake, purses.count_stake(state, task.id, seat.address))
        for seat in get_epoch(state, task.id, task.epoch).seats
    }
