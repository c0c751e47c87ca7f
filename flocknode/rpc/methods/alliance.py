"""`alliance.*`: how alliances stand, their participants and rounds."""

from collections.abc import Iterator

from flocknode.errors import UsageError
from flocknode.node import Node
from flocknode.rpc.alliance_records import (
    AcceptedModel,
    Alliance,
    AllianceList,
    AllianceReference,
    AllianceRole,
    AllianceState,
    AllianceSummary,
    Participant,
    ParticipantList,
    Standing,
    Training,
)
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.methods.arena import FUNDING
from flocknode.rpc.records import MAX_LIST, Count
from protocol.errors import NotFound
from protocol.formulas.alliance import stake_threshold
from protocol.plain import to_plain
from protocol.rules import purses
from protocol.rules.alliance import records, results
from protocol.rules.alliance.records import AlliancePhase, get_alliance, scan_participants
from protocol.state import StateView

STATES: dict[AlliancePhase, AllianceState] = {
    AlliancePhase.OPENING: "opening",
    AlliancePhase.FINISHED: "finished",
    AlliancePhase.EXPIRED: "expired",
    AlliancePhase.CANCELLED: "cancelled",
}
ROLES: dict[results.AllianceRole, AllianceRole] = {
    results.AllianceRole.PROPOSER: "proposer",
    results.AllianceRole.VOTER: "voter",
    results.AllianceRole.AGGREGATOR: "aggregator",
}


def state_of(alliance: records.Alliance) -> AllianceState:
    """Return an alliance's state in one word."""
    return STATES.get(alliance.phase, "running")


def scan_all_alliances(state: StateView) -> list[records.Alliance]:
    """Return every alliance ever created, oldest first."""
    return [alliance for _, alliance in records.ALLIANCES.scan(state)]


def find_alliance(state: StateView, reference: AllianceReference) -> records.Alliance:
    """Return the alliance with this number, or the only one with this name; raises `NotFound` or `UsageError`."""
    if reference.isdecimal():
        return get_alliance(state, int(reference))
    named = [alliance for alliance in scan_all_alliances(state) if alliance.spec.name == reference]
    if not named:
        raise NotFound(f"there is no alliance {reference!r}")
    if len(named) > 1:
        numbers = ", ".join(str(alliance.id) for alliance in named)
        raise UsageError(f"{len(named)} alliances are called {reference!r}", help=f"Name one by its number: {numbers}.")
    return named[0]


def summarise(state: StateView, alliance: records.Alliance) -> AllianceSummary:
    """Return an alliance in one line."""
    is_running = state_of(alliance) == "running"
    return AllianceSummary(
        alliance=alliance.id,
        name=alliance.spec.name,
        creator=alliance.creator.hex(),
        status=state_of(alliance),
        round=alliance.round,
        rounds=alliance.spec.settings.rounds,
        phase=alliance.phase.name.lower() if is_running else None,
        deadline_ms=alliance.deadline_ms,
        participants=sum(not one.is_out for _, one in scan_participants(state, alliance.id)),
        wanted=alliance.spec.participants,
        pool_units=purses.get_units(state, purses.pool_of(alliance.id)),
        funding=FUNDING[alliance.funding],
        best_millionths=None if alliance.best is None else alliance.best.score,
    )


def describe_alliance(node: Node, alliance: records.Alliance) -> Alliance:
    """Return everything about an alliance but its rounds."""
    spec = alliance.spec
    return Alliance(
        summary=summarise(node.chain.view, alliance),
        family=spec.model.family,
        model={setting.name: list(setting.values) for setting in spec.model.settings},
        metric=spec.metric.name,
        higher_is_better=spec.metric.higher_is_better,
        base_task=spec.base_task,
        winner=None if alliance.winner is None else alliance.winner.hex(),
        start=None if spec.fresh_model is None else spec.fresh_model.root.hex(),
        latest=describe_model(node, alliance.latest),
        best=describe_model(node, alliance.best),
        training=Training(
            passes=spec.training.passes,
            learning_rate_millionths=spec.training.learning_rate_millionths,
            batch_size=spec.training.batch_size,
        ),
        joining_stake_units=spec.joining_stake,
        threshold_units=stake_threshold(spec.joining_stake, threshold_millionths=spec.settings.threshold_millionths),
        min_test_rows=spec.min_test_rows,
        participants=tuple(describe_participants(node.chain.view, alliance)),
        parameters=to_plain(spec.settings),
    )


def describe_model(node: Node, accepted: records.Accepted | None) -> AcceptedModel | None:
    """Return an accepted model for people."""
    if accepted is None:
        return None
    return AcceptedModel(
        round=accepted.round,
        root=accepted.model.root.hex(),
        length_bytes=accepted.model.length,
        score_millionths=accepted.score,
        is_held=node.kit.blobs.has(accepted.model),
    )


def describe_participants(state: StateView, alliance: records.Alliance) -> Iterator[Participant]:
    """Yield everybody who takes part, by address."""
    for address, one in scan_participants(state, alliance.id):
        yield Participant(
            account=address.hex(),
            stake_units=purses.get_units(state, purses.alliance_stake_of(alliance.id, address)),
            train_rows=one.train_rows,
            test_rows=one.test_rows,
            standing=standing_of(one),
            accepted_rounds=one.accepted_rounds,
            earned_units=one.earned,
            slashed_units=one.slashed,
        )


def standing_of(participant: records.Participant) -> Standing:
    """Return in a word whether a participant may still be selected."""
    if participant.is_out:
        return "out"
    if participant.is_leaving:
        return "leaving"
    return "warned" if participant.is_warned else "active"


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace that describe alliances."""

    async def list_alliances(*, status: AllianceState | None = None, limit: Count = 100) -> AllianceList:
        """List the alliances of the chain, newest first."""
        view = node.chain.view
        found = [one for one in reversed(scan_all_alliances(view)) if status in (None, state_of(one))]
        return AllianceList(
            height=node.chain.head.height,
            alliances=tuple(summarise(view, one) for one in found[: min(limit, MAX_LIST)]),
        )

    async def show(*, alliance: AllianceReference) -> Alliance:
        """Show everything about an alliance but its rounds."""
        return describe_alliance(node, find_alliance(node.chain.view, alliance))

    async def participants(*, alliance: AllianceReference) -> ParticipantList:
        """List who takes part in an alliance: stakes, rows, what everybody earned and lost."""
        found = find_alliance(node.chain.view, alliance)
        return ParticipantList(alliance=found.id, participants=tuple(describe_participants(node.chain.view, found)))

    return {"alliance.list": list_alliances, "alliance.show": show, "alliance.participants": participants}
