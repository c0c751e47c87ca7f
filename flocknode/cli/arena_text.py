"""How Arena tasks look to people: from records to lines and tables. Prints nothing."""

from collections.abc import Mapping

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
from flocknode.rpc.arena_records import Epoch, Leaderboard, ScoreList, SubmissionList, Task, TaskList, Vault

Names = Mapping[str, str]
FUNDING = {
    "escrow": "by itself",
    "awaited": "awaits verification, and expires without it",
    "verified": "verified: the emission pays it, too",
}


def render_tasks(found: TaskList, names: Names) -> Table:
    """Return the tasks, one in a row."""
    rows = [
        (
            str(task.task),
            task.name,
            short(task.creator, names),
            task.status,
            f"{task.epoch + FIRST_EPOCH}/{task.epochs}",
            task.phase or "-",
            str(task.trainers),
            str(task.validators),
            format_fml(task.escrow_units),
        )
        for task in found.tasks
    ]
    headings = (">TASK", "NAME", "CREATOR", "STATUS", "EPOCH", "PHASE", ">TRAINERS", ">VALIDATORS", ">ESCROW FML")
    return Table(headings, rows, spare=("CREATOR",))


def render_task(found: Task, names: Names) -> list[str | Table]:
    """Return a task's description and its members."""
    task = found.summary
    bounds = f"{format_millionths(found.metric_low_millionths)} to {format_millionths(found.metric_high_millionths)}"
    phase = f", {task.phase}" if task.phase else ""
    fields = [
        ("task", str(task.task)),
        ("name", task.name),
        ("creator", short(task.creator, names)),
        ("status", f"{task.status}, epoch {task.epoch + FIRST_EPOCH} of {task.epochs}{phase}"),
        ("funding", FUNDING[task.funding]),
        ("in its pot", f"{format_fml(task.escrow_units)} FML"),
        *([("emitted for it", f"{format_fml(task.emitted_units)} FML")] if task.emitted_units else []),
        ("model", format_model(found.family, found.model)),
        ("metric", f"{found.metric}, {'higher' if found.higher_is_better else 'lower'} is better, {bounds}"),
        *(
            (
                f"dataset {one.name}",
                f"{short(one.root)}  {one.length_bytes} bytes  baseline {format_millionths(one.baseline_millionths)}"
                f"  {'key is public' if one.key else ''}",
            )
            for one in found.datasets
        ),
    ]
    members = [
        (
            short(member.account, names),
            member.role,
            format_fml(member.stake_units),
            *_describe_vault(member.vault),
            ", ".join(
                text
                for text, is_true in (
                    ("attested", member.has_attested),
                    ("drawn", member.is_drawn),
                    ("leaving", member.is_leaving),
                )
                if is_true
            ),
        )
        for member in found.members
    ]
    parameters = [(name, str(value)) for name, value in found.parameters.items()]
    return [
        format_fields(fields),
        "",
        Table(("PARAMETER", ">VALUE"), parameters),
        "",
        Table(("MEMBER", "ROLE", ">STAKE FML", ">DELEGATED", ">DELEGATORS GET", "STATE"), members),
    ]


def _describe_vault(vault: Vault | None) -> tuple[str, str]:
    """Return what is delegated to a member, and the reward share of this epoch, with what it will be later."""
    if vault is None:
        return NOTHING, NOTHING
    share = format_millionths(vault.reward_share_millionths)
    if vault.promised_share_millionths != vault.reward_share_millionths:
        share += f", next {format_millionths(vault.promised_share_millionths)}"
    if vault.cut_share_millionths is not None:
        share += f", later {format_millionths(vault.cut_share_millionths)}"
    return format_fml(vault.delegated_units), share


def render_submissions(found: SubmissionList, names: Names) -> Table:
    """Return the submissions, one in a row."""
    rows = [
        (
            str(one.epoch + FIRST_EPOCH),
            short(one.tag),
            short(one.account, names) if one.account else "unclaimed",
            short(one.root),
            str(one.length_bytes),
            "yes" if one.is_opened else "no",
            "yes" if one.is_held else "no",
        )
        for one in found.submissions
    ]
    return Table((">EPOCH", "PSEUDONYM", "AUTHOR", "BLOB", ">BYTES", "OPENED", "HELD HERE"), rows)


def render_scores(found: ScoreList, names: Names) -> Table:
    """Return the revealed scores, one in a row."""
    rows = [
        (
            str(one.epoch + FIRST_EPOCH),
            short(one.validator, names),
            short(one.tag),
            format_millionths(one.score_millionths) if one.verdict == "scored" else one.verdict,
            ", ".join(
                [
                    *(["ignored"] if one.is_ignored else []),
                    *(["overruled, slashed"] if one.is_overruled else []),
                    *([f"copy of {short(one.duplicate_of)}"] if one.duplicate_of else []),
                ]
            ),
        )
        for one in found.scores
    ]
    return Table((">EPOCH", "VALIDATOR", "PSEUDONYM", ">SCORE", "REMARK"), rows)


def render_leaderboard(found: Leaderboard, names: Names) -> list[str | Table]:
    """Return each epoch's ranking and validators, and the payouts that the task made in all."""
    parts: list[str | Table] = [f"task {found.task}  {found.name}  {found.status}"]
    for epoch in found.epochs:
        parts += ["", _render_ranking(epoch, names), "", _render_validators(epoch, names)]
    payouts = [
        (
            short(one.account, names),
            format_fml(one.a_units),
            format_fml(one.b_units),
            format_fml(one.validating_units),
            format_fml(one.creating_units),
            format_fml(one.a_units + one.b_units + one.validating_units + one.creating_units),
            format_fml(one.passed_on_units),
        )
        for one in found.payouts
    ]
    headings = ("ACCOUNT", ">REWARD A", ">REWARD B", ">VALIDATING", ">CREATING", ">TOTAL FML", ">TO DELEGATORS")
    return [*parts, "", Table(headings, payouts, "payouts")]


def _render_ranking(epoch: Epoch, names: Names) -> Table:
    rows = [
        (
            str(one.rank) if one.rank else NOTHING,
            short(one.tag),
            short(one.account, names) if one.account else "unclaimed",
            NOTHING if one.stake_units is None else format_fml(one.stake_units),
            f"copy of {short(one.duplicate_of)}" if one.duplicate_of else format_millionths(one.score_millionths),
            format_millionths(one.share_millionths),
            format_fml(one.reward_a_units),
            format_fml(one.reward_b_units),
        )
        for one in epoch.ranking
    ]
    emitted = f", {format_fml(epoch.emitted_units)} of it emitted" if epoch.emitted_units else ""
    state = f"settled, pot {format_fml(epoch.pot_units)} FML{emitted}" if epoch.is_settled else "running"
    return Table(
        (">RANK", "PSEUDONYM", "AUTHOR", ">STAKE", ">SCORE", ">SHARE", ">REWARD A", ">REWARD B"),
        rows,
        f"epoch {epoch.epoch + FIRST_EPOCH} on dataset {epoch.dataset.upper()}, "
        f"baseline {format_millionths(epoch.baseline_millionths)}, {state}",
    )


def _render_validators(epoch: Epoch, names: Names) -> Table:
    rows = [
        (
            short(one.account, names),
            format_fml(one.stake_units),
            format_fml(one.payout_units),
            format_fml(one.slashed_units),
        )
        for one in epoch.validators
    ]
    return Table(("VALIDATOR", ">STAKE", ">PAID FML", ">SLASHED"), rows)
