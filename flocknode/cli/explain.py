"""The command that traces payouts to where each unit comes from."""

from collections.abc import Mapping, Sequence

from flocknode.cli.names import resolve_account
from flocknode.cli.options import Common, Options
from flocknode.cli.output import show
from flocknode.cli.reckoning import ORIGINS, Line, list_origins, tabulate_amounts, tabulate_steps
from flocknode.cli.text import FIRST_EPOCH, Table, format_fml, format_millionths, short
from flocknode.errors import UsageError
from flocknode.home import load_names
from flocknode.rpc.audit_records import ExplainedPayout, Explanation, Step, Vote
from flocknode.rpc.call import call

NOTHING_PAID = "Nothing was paid. What delegators earned is told with their operators' payouts, under OF IT DELEGATORS."


def explain(payout: str, /, *, options: Common) -> None:
    """Trace payouts: emission, escrow, bounties and slashes behind them, and the formulas and votes that made them.

    Parameters
    ----------
    payout
        TASK/EPOCH/ACCOUNT, such as digits/2/carol: everything that carol was paid for the second epoch. Or TASK/EPOCH,
        or TASK, for a table of all payouts.
    """
    task, epoch, account = parse_payout(options, payout)
    names = load_names(options.home)
    found = call(options.home, "arena.explain", Explanation, task=task, epoch=epoch, account=account)
    show(options, found, lambda found: render(found, names, has_details=account is not None))


def parse_payout(options: Options, text: str) -> tuple[str, int | None, str | None]:
    """Return (task, epoch from 0 on, account) of a payout's name. Raises `UsageError`."""
    task, *rest = text.split("/")
    if not task or len(rest) > 2 or (rest and not rest[0].isdecimal()) or (rest and int(rest[0]) < FIRST_EPOCH):
        raise UsageError(f"{text!r} is no payout; write TASK/EPOCH/ACCOUNT, such as digits/2/carol")
    epoch = int(rest[0]) - FIRST_EPOCH if rest else None
    return task, epoch, resolve_account(options.home, rest[1]) if len(rest) == 2 else None


def render(found: Explanation, names: Mapping[str, str], *, has_details: bool) -> list[str | Table]:
    """Return payouts for people: one line each with the sums, or the whole reckoning of each."""
    if not found.payouts:
        return [NOTHING_PAID]
    parts: list[str | Table] = [list_payouts(found.payouts, names)]
    if has_details:
        for payout in found.payouts:
            parts += ["", list_steps(payout)]
            if payout.votes:
                parts += ["", list_votes(payout.votes, names)]
    return parts


def list_payouts(payouts: Sequence[ExplainedPayout], names: Mapping[str, str]) -> Table:
    """Return the payouts with their origins, and what they add up to."""
    lines = [
        Line(
            str(one.epoch + FIRST_EPOCH),
            one.account,
            one.kind,
            (*list_origins(one.origins, one.units), one.passed_on_units),
        )
        for one in payouts
    ]
    columns = (">EPOCH", *ORIGINS, ">OF IT DELEGATORS")
    return tabulate_amounts(lines, columns, names, spare=("OF IT DELEGATORS",))


def list_steps(payout: ExplainedPayout) -> Table:
    """Return the reckoning behind a payout."""
    steps = [*payout.steps, Step(tag="", what=payout.kind, units=payout.units, number=None)]
    return tabulate_steps(steps, f"epoch {payout.epoch + FIRST_EPOCH}, {payout.kind}")


def list_votes(votes: Sequence[Vote], names: Mapping[str, str]) -> Table:
    """Return what was said of the submissions behind a payout."""
    rows = [
        (
            short(vote.tag),
            short(vote.validator, names),
            format_fml(vote.stake_units),
            vote.verdict if vote.score_millionths is None else format_millionths(vote.score_millionths),
            "yes" if vote.is_counted else "no",
        )
        for vote in votes
    ]
    return Table(("PSEUDONYM", "VALIDATOR", ">STAKE FML", ">SCORE", "COUNTED"), rows)
