"""`alliance.explain`: where the rewards of an alliance come from, and why its slashes were taken."""

from flocknode.node import Node
from flocknode.rpc.alliance_records import AllianceExplanation, AllianceReference, CastVote, Traced
from flocknode.rpc.audit_records import Origins, Step
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.methods.alliance import find_alliance
from flocknode.rpc.records import Count, Hex32
from protocol.crypto import integer_bytes
from protocol.params import Params
from protocol.rules.alliance.explaining import AllianceTrace, explain_closing, explain_round
from protocol.rules.alliance.records import Alliance
from protocol.rules.alliance.results import CLOSINGS, ROUND_RESULTS
from protocol.state import StateView


def collect_traces(state: StateView, params: Params, alliance: Alliance, round: int | None) -> list[AllianceTrace]:
    """Return the traces of one round, or of all settled ones and the end; raises `NotFound` for a round that is not."""
    if round is not None:
        return explain_round(state, params, alliance.id, round)
    key = integer_bytes(alliance.id)
    settled = [int.from_bytes(number, "big") for number, _ in ROUND_RESULTS.scan(state, key)]
    traces = [trace for number in settled for trace in explain_round(state, params, alliance.id, number)]
    return traces if CLOSINGS.get(state, key) is None else traces + explain_closing(state, alliance.id)


def describe_trace(trace: AllianceTrace) -> Traced:
    """Return a trace for people."""
    origins = trace.origins
    return Traced(
        round=trace.round,
        account=trace.account.hex(),
        kind=trace.kind.value,
        units=trace.units,
        origins=Origins(
            emission_units=origins.emission,
            escrow_units=origins.escrow,
            bounty_units=origins.bounties,
            slash_units=origins.slashes,
        ),
        burned_units=trace.burned,
        kept_units=trace.kept,
        steps=tuple(Step(tag=step.tag, what=step.what, units=step.units, number=step.number) for step in trace.steps),
        votes=tuple(
            CastVote(
                voter=vote.voter.hex(),
                about=None if vote.about is None else vote.about.hex(),
                score_millionths=vote.score,
                best_millionths=vote.best,
                vote=vote.vote,
            )
            for vote in trace.votes
        ),
    )


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace that explain."""

    async def explain(
        *, alliance: AllianceReference, round: Count | None = None, account: Hex32 | None = None
    ) -> AllianceExplanation:
        """Trace rewards to where each unit comes from, and slashes to the votes or the absence that they are for."""
        view, found = node.chain.view, find_alliance(node.chain.view, alliance)
        traces = collect_traces(view, node.chain.params, found, round)
        return AllianceExplanation(
            alliance=found.id,
            traces=tuple(describe_trace(trace) for trace in traces if account in (None, trace.account.hex())),
        )

    return {"alliance.explain": explain}
