"""`arena.audit` and `arena.explain`: whether a task's scores are so, and where its payouts come from."""

from flocknode.auditing import audit_task
from flocknode.node import Node
from flocknode.rpc.arena_records import TaskReference
from flocknode.rpc.audit_records import (
    Audit,
    Comparison,
    ExplainedPayout,
    Explanation,
    Opinion,
    Origins,
    Step,
    Unchecked,
    Vote,
)
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.methods.arena import find_task
from flocknode.rpc.records import Count, Hex32
from protocol.rules.arena import auditing
from protocol.rules.arena.explaining import Trace, explain_epoch
from protocol.transactions import ScoreEntry, Verdict


def describe_opinion(entry: ScoreEntry) -> Opinion:
    """Return a verdict for people."""
    return Opinion(
        verdict=entry.verdict.name.lower(),  # type: ignore[arg-type]
        score_millionths=entry.score if entry.verdict is Verdict.SCORED else None,
        duplicate_of=None if entry.duplicate_of is None else entry.duplicate_of.hex(),
    )


def describe_comparison(comparison: auditing.Comparison) -> Comparison:
    """Return a comparison for people."""
    return Comparison(
        epoch=comparison.epoch,
        validator=comparison.validator.hex(),
        tag=comparison.said.tag.hex(),
        said=describe_opinion(comparison.said),
        found=describe_opinion(comparison.found),
        agrees=comparison.agrees,
    )


def describe_trace(trace: Trace) -> ExplainedPayout:
    """Return a payout's trace for people."""
    origins = trace.origins
    return ExplainedPayout(
        epoch=trace.epoch,
        account=trace.account.hex(),
        kind=trace.kind.value,
        units=trace.units,
        own_units=trace.own,
        passed_on_units=trace.passed_on,
        origins=Origins(
            emission_units=origins.emission,
            escrow_units=origins.escrow,
            bounty_units=origins.bounties,
            slash_units=origins.slashes,
        ),
        steps=tuple(Step(tag=step.tag, what=step.what, units=step.units, number=step.number) for step in trace.steps),
        votes=tuple(
            Vote(
                tag=vote.tag.hex(),
                validator=vote.validator.hex(),
                stake_units=vote.stake,
                verdict=vote.verdict.name.lower(),  # type: ignore[arg-type]
                score_millionths=vote.score if vote.verdict is Verdict.SCORED else None,
                is_counted=vote.is_counted,
            )
            for vote in trace.votes
        ),
    )


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace that check and explain."""

    async def audit(*, task: TaskReference) -> Audit:
        """Evaluate every submission of a task again from the published keys, and compare with the revealed scores."""
        found = find_task(node.chain.view, task)
        done = await audit_task(node.kit, found)
        return Audit(
            task=found.id,
            epochs=done.epochs,
            comparisons=tuple(map(describe_comparison, done.comparisons)),
            unchecked=tuple(
                Unchecked(epoch=one.epoch, tag=None if one.tag is None else one.tag.hex(), reason=one.reason)
                for one in done.unchecked
            ),
        )

    async def explain(*, task: TaskReference, epoch: Count | None = None, account: Hex32 | None = None) -> Explanation:
        """Trace payouts to where each unit comes from: emission, escrow, bounties, slashes; and how it was reckoned."""
        view, found = node.chain.view, find_task(node.chain.view, task)
        epochs = range(auditing.count_settled(view, found)) if epoch is None else (epoch,)
        traces = [trace for number in epochs for trace in explain_epoch(view, node.chain.params, found.id, number)]
        return Explanation(
            task=found.id,
            payouts=tuple(describe_trace(trace) for trace in traces if account in (None, trace.account.hex())),
        )

    return {"arena.audit": audit, "arena.explain": explain}
