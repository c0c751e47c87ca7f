"""Commands about FL Alliances: create, join with own data, leave, their money, and what became of rounds."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from flocknode.cli import alliance_text
from flocknode.cli.accounts import NoWait
from flocknode.cli.alliance_options import NO_START, USUAL_LOCAL_PLAN, USUAL_TERMS, LocalPlan, Start, Terms
from flocknode.cli.alliance_proof import verify_proof, write_proof
from flocknode.cli.alliance_training import training
from flocknode.cli.datasets import require_dataset
from flocknode.cli.model_options import parse_options
from flocknode.cli.names import resolve_account
from flocknode.cli.options import Common
from flocknode.cli.output import show
from flocknode.cli.sending import send, send_about_alliance
from flocknode.cli.text import parse_counted, parse_fml, parse_millionths
from flocknode.errors import Exit
from flocknode.home import load_names
from flocknode.rpc.alliance_records import (
    Alliance,
    AllianceExplanation,
    AllianceList,
    AllianceState,
    Joined,
    RoundList,
)
from flocknode.rpc.call import call

alliance = App(name="alliance")
alliance.command(verify_proof)
alliance.command(write_proof, name="proof")
alliance.command(training)


@alliance.command
def create(
    name: str,
    /,
    *,
    start: Start = NO_START,
    terms: Terms = USUAL_TERMS,
    plan: LocalPlan = USUAL_LOCAL_PLAN,
    escrow: str,
    stake: str | None = None,
    option: Annotated[list[str] | None, Parameter(name="--option", negative="")] = None,
    no_wait: NoWait = False,
    options: Common,
) -> Exit:
    """Create an alliance that improves a model with data that never leaves its owners.

    Parameters
    ----------
    name
        What the alliance is called, for people.
    escrow
        FML that all rounds pay; with 0 it opens once the governance account verifies it.
    stake
        FML to stake as its creator; the minimum if not given.
    option
        A setting of its own, such as rounds=20 or aggregator=median; may be given several times. Needs an escrow.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    money = {"escrow_units": parse_fml(escrow), "stake_units": None if stake is None else parse_fml(stake)}
    asked = {**start.to_params(), **terms.to_params(), **plan.to_params(), **money}
    settings = terms.to_settings() | parse_options(option or [])
    return send_about_alliance(options, "alliance.create", name=name, settings=settings, wait=not no_wait, **asked)


@alliance.command
def join(
    alliance: str,
    /,
    *,
    data: Path,
    test_share: str = "0.25",
    seed: int = 0,
    no_wait: NoWait = False,
    options: Common,
) -> Exit:
    """Take part with the joining stake and your own data; the daemon does what each round asks for.

    The data is cut into training and test rows in this home and never leaves it.

    Parameters
    ----------
    alliance
        Name or number of the alliance.
    data
        Your own data, a dataset file.
    test_share
        The part of the rows that others' models are judged on; they are never trained on.
    seed
        Seed of the cut, and of the order of rows in training.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    return send(
        options,
        "alliance.join",
        Joined,
        lambda joined: f"alliance {joined.alliance}: {joined.train_rows} rows to train, {joined.test_rows} to test",
        alliance=alliance,
        dataset=require_dataset(data),
        test_share_millionths=parse_millionths(test_share),
        seed=seed,
        wait=not no_wait,
    )


@alliance.command
def leave(alliance: str, /, *, no_wait: NoWait = False, options: Common) -> Exit:
    """Stop taking part: at once while the alliance opens, else when the round closes. The stake unbonds.

    Parameters
    ----------
    alliance
        Name or number of the alliance.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    return send_about_alliance(options, "alliance.leave", alliance=alliance, wait=not no_wait)


@alliance.command
def top_up(alliance: str, amount: str, /, *, no_wait: NoWait = False, options: Common) -> Exit:
    """Add to your stake in an alliance, so that it reaches the threshold before the next draw.

    Parameters
    ----------
    alliance
        Name or number of the alliance.
    amount
        FML to add, such as 12.5.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    units = parse_fml(amount)
    return send_about_alliance(options, "alliance.top_up", alliance=alliance, units=units, wait=not no_wait)


@alliance.command
def fund(alliance: str, amount: str, /, *, no_wait: NoWait = False, options: Common) -> Exit:
    """Give to an alliance's reward pool.

    Parameters
    ----------
    alliance
        Name or number of the alliance.
    amount
        FML to give, such as 12.5.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    units = parse_fml(amount)
    return send_about_alliance(options, "alliance.fund", alliance=alliance, units=units, wait=not no_wait)


@alliance.command
def cancel(alliance: str, /, *, no_wait: NoWait = False, options: Common) -> Exit:
    """Call off an alliance that this node's account created, before its first round.

    The pool and all stakes go back; the registration fee does not.

    Parameters
    ----------
    alliance
        Name or number of the alliance.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    return send_about_alliance(options, "alliance.cancel", alliance=alliance, wait=not no_wait)


@alliance.command
def verify(alliance: str, /, *, no_wait: NoWait = False, options: Common) -> Exit:
    """Let an alliance take part in the emission: only the governance account can.

    Parameters
    ----------
    alliance
        Name or number of the alliance.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    return send_about_alliance(options, "alliance.verify", alliance=alliance, wait=not no_wait)


@alliance.command(name="list")
def list_alliances(*, status: AllianceState | None = None, limit: int = 100, options: Common) -> None:
    """List the alliances, newest first.

    Parameters
    ----------
    status
        Only alliances in this state.
    limit
        How many to list at most.
    """
    names = load_names(options.home)
    found = call(options.home, "alliance.list", AllianceList, status=status, limit=limit)
    show(options, found, lambda found: alliance_text.render_alliances(found, names))


@alliance.command(name="show")
def show_alliance(alliance: str, /, *, options: Common) -> None:
    """Show an alliance: its model, start, best model, parameters, and who takes part.

    Parameters
    ----------
    alliance
        Name or number of the alliance.
    """
    names = load_names(options.home)
    found = call(options.home, "alliance.show", Alliance, alliance=alliance)
    show(options, found, lambda found: alliance_text.render_alliance(found, names))


@alliance.command
def rounds(alliance: str, /, *, round: int | None = None, limit: int = 20, options: Common) -> None:
    """Show rounds: roles, votes, scores, rewards and slashes; of one round everybody's part.

    Parameters
    ----------
    alliance
        Name or number of the alliance.
    round
        Only this round, counted from 1.
    limit
        So many of the newest rounds.
    """
    names = load_names(options.home)
    number = parse_counted(round, "rounds")
    found = call(options.home, "alliance.rounds", RoundList, alliance=alliance, round=number, limit=limit)
    render = alliance_text.render_rounds if number is None else alliance_text.render_round_details
    show(options, found, lambda found: render(found, names))


@alliance.command
def explain(alliance: str, /, *, round: int | None = None, account: str | None = None, options: Common) -> None:
    """Trace rewards and slashes: the pool, the part of a round, stakes, votes, and the formulas that made them.

    Parameters
    ----------
    alliance
        Name or number of the alliance.
    round
        Only this round, counted from 1.
    account
        Only this account, by name or address: with the whole reckoning.
    """
    names = load_names(options.home)
    who = None if account is None else resolve_account(options.home, account)
    found = call(
        options.home,
        "alliance.explain",
        AllianceExplanation,
        alliance=alliance,
        round=parse_counted(round, "rounds"),
        account=who,
    )
    show(options, found, lambda found: alliance_text.render_explanation(found, names, has_details=who is not None))
