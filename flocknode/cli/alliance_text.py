"""How alliances look to people: from records to lines and tables. Prints nothing."""

from collections.abc import Mapping, Sequence

from flocknode.cli.arena_text import FUNDING
from flocknode.cli.reckoning import ORIGINS, Line, list_origins, tabulate_amounts, tabulate_steps
from flocknode.cli.text import (
    FIRST_EPOCH,
    NOTHING,
    Table,
    format_fields,
    format_fml,
    format_millionths,
    format_model,
    short,
)
from flocknode.rpc.alliance_records import (
    AcceptedModel,
    Alliance,
    AllianceExplanation,
    AllianceList,
    CastVote,
    ProvenSum,
    Round,
    RoundList,
    Share,
    Traced,
)

Names = Mapping[str, str]
NO_ROUNDS = "No round has begun."
NOTHING_SETTLED = "No round was settled."


def render_alliances(found: AllianceList, names: Names) -> Table:
    """Return the alliances, one in a row."""
    rows = [
        (
            str(one.alliance),
            one.name,
            short(one.creator, names),
            one.status,
            f"{min(one.round + FIRST_EPOCH, one.rounds)}/{one.rounds}",
            one.phase or NOTHING,
            f"{one.participants}/{one.wanted}" if one.status == "opening" else str(one.participants),
            format_fml(one.pool_units),
            format_millionths(one.best_millionths),
        )
        for one in found.alliances
    ]
    headings = (">NO", "NAME", "CREATOR", "STATUS", "ROUND", "PHASE", ">PARTICIPANTS", ">POOL FML", ">BEST")
    return Table(headings, rows, spare=("CREATOR",))


def render_alliance(found: Alliance, names: Names) -> list[str | Table]:
    """Return an alliance's description and its participants."""
    one = found.summary
    phase = f", {one.phase}" if one.phase else ""
    training = found.training
    fields = [
        ("alliance", str(one.alliance)),
        ("name", one.name),
        ("creator", short(one.creator, names)),
        ("status", f"{one.status}, round {min(one.round + FIRST_EPOCH, one.rounds)} of {one.rounds}{phase}"),
        ("funding", FUNDING[one.funding]),
        ("in its pool", f"{format_fml(one.pool_units)} FML"),
        ("model", format_model(found.family, found.model)),
        ("metric", f"{found.metric}, {'higher' if found.higher_is_better else 'lower'} is better"),
        ("starts from", describe_start(found)),
        ("latest", describe_model(found.latest)),
        ("best", describe_model(found.best)),
        (
            "training",
            f"{training.passes} passes, step {format_millionths(training.learning_rate_millionths)}, "
            f"batches of {training.batch_size}",
        ),
        ("joining stake", f"{format_fml(found.joining_stake_units)} FML"),
        ("a role needs", f"{format_fml(found.threshold_units)} FML of stake"),
        ("test rows", f"at least {found.min_test_rows}"),
    ]
    participants = [
        (
            short(person.account, names),
            format_fml(person.stake_units),
            str(person.train_rows),
            str(person.test_rows),
            person.standing,
            str(person.accepted_rounds),
            format_fml(person.earned_units),
            format_fml(person.slashed_units),
        )
        for person in found.participants
    ]
    parameters = [(name, str(value)) for name, value in found.parameters.items()]
    counts = (">TRAIN ROWS", ">TEST ROWS", "STANDING", ">PAID ROUNDS", ">EARNED", ">SLASHED")
    people = Table(("PARTICIPANT", ">STAKE FML", *counts), participants)
    return [format_fields(fields), "", Table(("PARAMETER", ">VALUE"), parameters), "", people]


def describe_start(found: Alliance) -> str:
    """Return what an alliance starts from."""
    if found.base_task is None:
        return f"a fresh model, {short(found.start)}"
    return f"the winner of task {found.base_task}, {short(found.winner)}"


def describe_model(model: AcceptedModel | None) -> str:
    """Return an accepted model in a few words."""
    if model is None:
        return "the start"
    where = ", held here" if model.is_held else ""
    return f"round {model.round + FIRST_EPOCH}, {short(model.root)}, {format_millionths(model.score_millionths)}{where}"


def render_rounds(found: RoundList, names: Names) -> list[str | Table]:
    """Return the rounds, one in a row."""
    rows = [
        (
            str(one.round + FIRST_EPOCH),
            one.state if one.phase is None else f"running: {one.phase}",
            list_people(one, "proposer", names),
            list_people(one, "voter", names),
            describe_updates(one),
            format_millionths(one.score_millionths),
            format_fml(one.paid_units),
            format_fml(one.slashed_units),
        )
        for one in found.rounds
    ]
    headings = (">ROUND", "OUTCOME", "PROPOSERS", "VOTERS", ">ACCEPTED", ">SCORE", ">PAID FML", ">SLASHED")
    return [f"alliance {found.alliance}  {found.name}", Table(headings, rows) if rows else NO_ROUNDS]


def list_people(found: Round, role: str, names: Names) -> str:
    """Return who had a role, those that were absent in brackets."""
    shares = [one for one in found.shares if one.role == role]
    listed = (f"({short(one.account, names)})" if one.is_absent else short(one.account, names) for one in shares)
    return ", ".join(listed) or NOTHING


def describe_updates(found: Round) -> str:
    """Return how many updates were accepted; where only their aggregate was voted on, the votes."""
    if found.updates:
        return f"{sum(one.is_accepted for one in found.updates)}/{len(found.updates)}"
    return f"{found.in_favour} to {found.against}" if found.in_favour + found.against else NOTHING


def render_round_details(found: RoundList, names: Names) -> list[str | Table]:
    """Return rounds with everybody's part in each."""
    parts: list[str | Table] = [f"alliance {found.alliance}  {found.name}"]
    for one in found.rounds:
        state = one.state if one.phase is None else f"running: {one.phase}"
        facts = [
            ("outcome", state),
            ("aggregate", f"{short(one.root)}  {format_millionths(one.score_millionths)}"),
            ("votes on it", f"{one.in_favour} in favour, {one.against} against"),
            ("pool before", f"{format_fml(one.pool_units)} FML"),
            ("of it to pay", f"{format_fml(one.reward_units)} FML"),
        ]
        facts += describe_proof(one.proven, names)
        parts += ["", f"round {one.round + FIRST_EPOCH}", format_fields(facts)]
        if one.updates:
            parts += ["", list_updates(one, names)]
        parts += ["", list_shares(one.shares, names)]
    return parts if found.rounds else [*parts, NO_ROUNDS]


def describe_proof(proven: ProvenSum | None, names: Names) -> list[tuple[str, str]]:
    """Return who summed hidden updates, whose, and what the log has of that; nothing where they are not hidden."""
    if proven is None:
        return []
    people = {"summed": proven.summed, "shown to lie": proven.liars, "unreadable": proven.unreadable}
    return [
        ("aggregator", short(proven.aggregator, names)),
        *((what, ", ".join(short(one, names) for one in found)) for what, found in people.items() if found),
        ("Enc(w) digest", proven.digest or "none: too few are left that would hide each other"),
        *([] if proven.proof is None else [("hash of the proof", proven.proof)]),
    ]


def list_updates(found: Round, names: Names) -> Table:
    """Return what the voters said of each update."""
    rows = [
        (
            short(one.proposer, names),
            str(one.in_favour),
            str(one.against),
            format_millionths(one.score_millionths),
            format_millionths(one.gain_millionths),
            "accepted" if one.is_accepted else "rejected",
        )
        for one in found.updates
    ]
    return Table(("UPDATE OF", ">IN FAVOUR", ">AGAINST", ">SCORE", ">GAIN", "VERDICT"), rows)


def list_shares(shares: Sequence[Share], names: Names) -> Table:
    """Return everybody's part in a round."""
    rows = [
        (
            short(one.account, names),
            one.role,
            format_fml(one.stake_units),
            format_millionths(one.merit_millionths),
            "absent" if one.is_absent else "acted" if one.has_acted else "awaited",
            format_fml(one.earned_units),
            format_fml(one.slashed_units),
        )
        for one in shares
    ]
    return Table(("SELECTED", "ROLE", ">STAKE FML", ">MERIT", "STATE", ">EARNED", ">SLASHED"), rows)


def render_explanation(found: AllianceExplanation, names: Names, *, has_details: bool) -> list[str | Table]:
    """Return rewards and slashes: one line each with the sums, or the whole reckoning of each."""
    if not found.traces:
        return [NOTHING_SETTLED]
    rewards = [one for one in found.traces if not is_slash(one)]
    slashes = [one for one in found.traces if is_slash(one)]
    parts: list[str | Table] = []
    if rewards:
        parts.append(list_rewards(rewards, names))
    if slashes:
        parts += ["", list_slashes(slashes, names)]
    if has_details:
        for one in found.traces:
            parts += ["", list_steps(one)]
            if one.votes:
                parts += ["", list_votes(one.votes, names)]
    return parts


def is_slash(trace: Traced) -> bool:
    """Return whether units were taken and not paid."""
    return trace.kind in ("lost vote", "absence", "false update")


def describe_place(trace: Traced) -> str:
    """Return the round of a reward or slash; the remainder belongs to none."""
    return "end" if trace.round is None else str(trace.round + FIRST_EPOCH)


def list_rewards(rewards: Sequence[Traced], names: Names) -> Table:
    """Return the rewards with where they come from, and what they add up to."""
    lines = [Line(describe_place(one), one.account, one.kind, list_origins(one.origins, one.units)) for one in rewards]
    return tabulate_amounts(lines, (">ROUND", *ORIGINS), names)


def list_slashes(slashes: Sequence[Traced], names: Names) -> Table:
    """Return the slashes with where they went, and what they add up to."""
    lines = [
        Line(describe_place(one), one.account, one.kind, (one.burned_units, one.kept_units, one.units))
        for one in slashes
    ]
    return tabulate_amounts(lines, (">ROUND", ">BURNED", ">+ TO THE POOL", ">= SLASHED FML"), names)


def list_steps(trace: Traced) -> Table:
    """Return the reckoning behind a reward or a slash."""
    return tabulate_steps(trace.steps, f"round {describe_place(trace)}, {trace.kind}")


def list_votes(votes: Sequence[CastVote], names: Names) -> Table:
    """Return the votes behind a reward or a slash."""
    rows = [
        (
            short(one.voter, names),
            "the aggregate" if one.about is None else f"the update of {short(one.about, names)}",
            format_millionths(one.best_millionths),
            format_millionths(one.score_millionths),
            f"{one.vote:+d}",
        )
        for one in votes
    ]
    return Table(("VOTER", "ON", ">BEST", ">SCORE", ">VOTE"), rows)
