"""`arena.*`: what was entered, scored and paid."""

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from flocknode.node import Node
from flocknode.rpc.arena_records import (
    Epoch,
    Leaderboard,
    Payout,
    Ranked,
    ScoreEntry,
    ScoreList,
    Submission,
    SubmissionList,
    TaskReference,
    ValidatorPayout,
)
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.methods.arena import find_task, state_of
from flocknode.rpc.records import Count
from protocol.crypto import integer_bytes
from protocol.rules.arena import records, results
from protocol.rules.arena.records import Phase, scan_sheets, scan_submissions
from protocol.state import StateView
from protocol.transactions import Verdict


def epochs_of(task: records.Task, epoch: int | None) -> range:
    """Return the epochs of a task that began, or the one that was asked for."""
    if task.phase in (Phase.OPENING, Phase.EXPIRED, Phase.CANCELLED):
        return range(0)
    return range(task.epoch + 1) if epoch is None else range(epoch, min(epoch, task.epoch) + 1)


def describe_submissions(node: Node, task: records.Task, epoch: int) -> Iterator[Submission]:
    """Yield what was entered for an epoch, by tag."""
    for tag, submission in scan_submissions(node.chain.view, task.id, epoch):
        yield Submission(
            epoch=epoch,
            tag=tag.hex(),
            account=None if submission.author is None else submission.author.hex(),
            root=submission.blob.root.hex(),
            length_bytes=submission.blob.length,
            is_opened=submission.key is not None,
            is_held=node.kit.blobs.has(submission.blob),
        )


def describe_scores(node: Node, task: records.Task, epoch: int) -> Iterator[ScoreEntry]:
    """Yield what validators revealed for an epoch, by validator and tag."""
    result = results.RESULTS.get(node.chain.view, integer_bytes(task.id), integer_bytes(epoch))
    ranking = {} if result is None else {ranked.tag: ranked for ranked in result.ranking}
    for validator, sheet in scan_sheets(node.chain.view, task.id, epoch):
        for entry in sheet.entries or ():
            is_scored, ranked = entry.verdict is Verdict.SCORED, ranking.get(entry.tag)
            yield ScoreEntry(
                epoch=epoch,
                validator=validator.hex(),
                tag=entry.tag.hex(),
                verdict=entry.verdict.name.lower(),  # type: ignore[arg-type]
                score_millionths=entry.score if is_scored else None,
                duplicate_of=None if entry.duplicate_of is None else entry.duplicate_of.hex(),
                is_ignored=ranked is not None and validator in ranked.ignored,
                is_overruled=ranked is not None and validator in ranked.overruled,
            )


def describe_epoch(state: StateView, task: records.Task, epoch: int) -> Epoch:
    """Return how an epoch was settled, or that it was not yet."""
    result = results.RESULTS.get(state, integer_bytes(task.id), integer_bytes(epoch))
    begun = records.get_epoch(state, task.id, epoch)
    stakes = {seat.address: seat.stake for seat in begun.seats} | {juror.address: juror.stake for juror in begun.drawn}
    return Epoch(
        epoch=epoch,
        dataset="b" if epoch + 1 == task.spec.epochs else "a",
        baseline_millionths=replace(task, epoch=epoch).baseline(),
        is_settled=result is not None,
        pot_units=0 if result is None else result.pot,
        emitted_units=0 if result is None else result.emitted,
        creator_units=0 if result is None else result.creator_reward,
        ranking=() if result is None else tuple(describe_rank(ranked, stakes) for ranked in result.ranking),
        validators=()
        if result is None
        else tuple(
            ValidatorPayout(
                account=v.address.hex(),
                stake_units=stakes[v.address],
                payout_units=v.earned,
                slashed_units=v.slashed,
            )
            for v in result.validators
        ),
    )


def describe_rank(ranked: results.Ranked, stakes: Mapping[bytes, int]) -> Ranked:
    """Return one submission's outcome for people, with the stake that its author counted with."""
    return Ranked(
        rank=ranked.rank,
        tag=ranked.tag.hex(),
        account=None if ranked.author is None else ranked.author.hex(),
        stake_units=None if ranked.author is None else stakes[ranked.author],
        score_millionths=ranked.score,
        share_millionths=ranked.share,
        duplicate_of=None if ranked.duplicate_of is None else ranked.duplicate_of.hex(),
        reward_a_units=ranked.reward_a,
        reward_b_units=ranked.reward_b,
        payout_units=ranked.reward_a + ranked.reward_b,
    )


def describe_payouts(state: StateView, task: records.Task) -> tuple[Payout, ...]:
    """Return what everybody got from a task so far, also who left; its creator first, if it got anything."""
    created = sum(result.creator_reward for _, result in results.RESULTS.scan(state, integer_bytes(task.id)))
    nothing = {"a_units": 0, "b_units": 0, "validating_units": 0, "passed_on_units": 0}
    creator = (Payout(account=task.creator.hex(), creating_units=created, **nothing),) if created else ()
    members = (
        Payout(
            account=address.hex(),
            a_units=earned.earned_a,
            b_units=earned.earned_b,
            validating_units=earned.earned_validating,
            creating_units=0,
            passed_on_units=earned.passed_on,
        )
        for address, earned in records.scan_earned(state, task.id)
    )
    return (*creator, *members)


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace that describe results."""

    async def submissions(*, task: TaskReference, epoch: Count | None = None) -> SubmissionList:
        """List what was entered for a task, by epoch and pseudonym."""
        found = find_task(node.chain.view, task)
        listed = [entry for number in epochs_of(found, epoch) for entry in describe_submissions(node, found, number)]
        return SubmissionList(task=found.id, submissions=tuple(listed))

    async def scores(*, task: TaskReference, epoch: Count | None = None) -> ScoreList:
        """List what validators revealed about each submission."""
        found = find_task(node.chain.view, task)
        listed = [entry for number in epochs_of(found, epoch) for entry in describe_scores(node, found, number)]
        return ScoreList(task=found.id, scores=tuple(listed))

    async def leaderboard(*, task: TaskReference, epoch: Count | None = None) -> Leaderboard:
        """Show the ranking of each epoch and what everybody was paid so far."""
        view = node.chain.view
        found = find_task(view, task)
        return Leaderboard(
            task=found.id,
            name=found.spec.name,
            status=state_of(found),
            epochs=tuple(describe_epoch(view, found, number) for number in epochs_of(found, epoch)),
            payouts=describe_payouts(view, found),
        )

    return {"arena.submissions": submissions, "arena.scores": scores, "arena.leaderboard": leaderboard}
