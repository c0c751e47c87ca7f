"""Commands about accounts and their transactions."""

from typing import Annotated

from cyclopts import App, Parameter

from flocknode.cli.names import resolve_account
from flocknode.cli.options import Common, Options
from flocknode.cli.output import note, show
from flocknode.cli.text import Table, format_fields, format_fml, parse_fml, parse_id, short
from flocknode.errors import Exit, UsageError
from flocknode.home import load_names
from flocknode.rpc.call import call
from flocknode.rpc.records import Account, AccountList, Outcome, Transaction

MAX_NOTED_CHARACTERS = 200

account = App(name="account")
tx = App(name="tx")

NoWait = Annotated[bool, Parameter(name="--no-wait", negative="")]


@account.command(name="show")
def show_account(who: str | None = None, /, *, options: Common) -> None:
    """Show what an account owns.

    Parameters
    ----------
    who
        Name or address; this node's own account if not given.
    """
    address = None if who is None else resolve_account(options.home, who)
    names = load_names(options.home)

    def render(found: Account) -> str | list[str | Table]:
        fields = format_fields(
            [
                *([("name", names[found.address])] if found.address in names else []),
                ("address", found.address),
                ("balance", f"{format_fml(found.balance_units)} FML"),
                ("bonded as replica", f"{format_fml(found.bonded_units)} FML"),
                ("staked", f"{format_fml(found.staked_units)} FML"),
                ("delegated", f"{format_fml(found.delegated_units)} FML"),
                ("unbonding", f"{format_fml(found.unbonding_units)} FML"),
                ("next nonce", str(found.nonce)),
                *([("record", "was paid for work in a verified task or alliance")] if found.has_record else []),
                *([("standing", "recognised by governance")] if found.is_recognised else []),
            ]
        )
        return [fields, "", _tabulate_delegations(found, names)] if found.delegations else fields

    show(options, call(options.home, "account.show", Account, address=address), render)


@account.command(name="list")
def list_accounts(*, after: str | None = None, limit: int = 100, options: Common) -> None:
    """List accounts by address.

    Parameters
    ----------
    after
        Continue after this address.
    limit
        How many to list at most.
    """
    names = load_names(options.home)
    start = None if after is None else resolve_account(options.home, after)
    found = call(options.home, "account.list", AccountList, after=start, limit=limit)

    def render(found: AccountList) -> Table:
        rows = [
            (
                names.get(one.address, ""),
                one.address,
                format_fml(one.balance_units),
                format_fml(one.bonded_units),
                format_fml(one.staked_units),
                str(one.nonce),
            )
            for one in found.accounts
        ]
        return Table(("NAME", "ADDRESS", ">BALANCE FML", ">BONDED", ">STAKED", ">NONCE"), rows)

    show(options, found, render)
    if found.next is not None:
        note(options, f"There are more: flocknode account list --after {found.accounts[-1].address}")


@account.command
def recognise(who: str, /, *, no_wait: NoWait = False, options: Common) -> Exit:
    """Let an account create tasks without a stake: only the governance account can; `flocknode chain params` names it.

    Parameters
    ----------
    who
        Name or address of the account.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    address = resolve_account(options.home, who)
    return show_outcome(options, call(options.home, "account.recognise", Outcome, address=address, wait=not no_wait))


@tx.command
def transfer(to: str, amount: str, /, *, fee: str | None = None, no_wait: NoWait = False, options: Common) -> Exit:
    """Move FML to another account, and wait until it is in a block.

    Parameters
    ----------
    to
        Name or address of the receiver.
    amount
        FML to move, such as 12.5.
    fee
        FML to pay for it; the floor if not given.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    outcome = call(
        options.home,
        "tx.transfer",
        Outcome,
        to=resolve_account(options.home, to),
        amount_units=parse_fml(amount),
        fee_units=None if fee is None else parse_fml(fee),
        wait=not no_wait,
    )
    return show_outcome(options, outcome)


@tx.command
def submit(transaction: str, /, *, no_wait: NoWait = False, options: Common) -> Exit:
    """Send a transaction that was encoded and signed elsewhere.

    Parameters
    ----------
    transaction
        Its bytes in hex.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    try:
        data = bytes.fromhex(transaction)
    except ValueError as error:
        raise UsageError("the transaction is not hex") from error
    outcome = call(options.home, "tx.submit", Outcome, transaction=data.hex(), wait=not no_wait)
    return show_outcome(options, outcome)


@tx.command
def wait(identifier: str, /, *, expiry: int | None = None, options: Common) -> Exit:
    """Wait until it is certain what became of a transaction: included, refused, or expired.

    Parameters
    ----------
    identifier
        Its id, 64 hex digits.
    expiry
        Its expiry height, as it was printed when the transaction was sent.
    """
    outcome = call(options.home, "tx.wait", Outcome, id=parse_id(identifier), expiry_height=expiry)
    return show_outcome(options, outcome)


@tx.command(name="show")
def show_transaction(identifier: str, /, *, options: Common) -> None:
    """Show a transaction and what became of it.

    Parameters
    ----------
    identifier
        Its id, 64 hex digits.
    """
    names = load_names(options.home)

    def render(found: Transaction) -> str:
        place = "in the mempool" if found.height is None else f"block {found.height}, number {found.index}"
        return format_fields(
            [
                ("id", found.id),
                ("kind", found.kind),
                ("status", found.status + (f": {found.message} (error {found.error})" if found.error else "")),
                ("place", place),
                ("sender", short(found.sender, names) if found.sender else "anonymous"),
                *([] if found.nonce is None else [("nonce", str(found.nonce))]),
                ("fee", f"{format_fml(found.fee_units)} FML"),
                ("size", f"{found.size_bytes} bytes"),
                *((f"  {name}", _format_field(name, value, names)) for name, value in found.fields.items()),
            ]
        )

    show(options, call(options.home, "tx.show", Transaction, id=parse_id(identifier)), render)


def show_outcome(options: Options, outcome: Outcome) -> Exit:
    """Print what became of a transaction; return the exit code: refused when it failed or expired."""

    def render(found: Outcome) -> str:
        match found.status:
            case "included":
                return f"included in block {found.height}  {found.id}"
            case "pending":
                return f"pending, expires at height {found.expiry_height}  {found.id}"
            case "failed":
                return f"failed in block {found.height}: {found.message} (error {found.error})  {found.id}"
            case "expired":
                return f"expired at height {found.expiry_height} without being included  {found.id}"

    show(options, outcome, render)
    return exit_code_of(outcome)


def exit_code_of(outcome: Outcome) -> Exit:
    """Return what a command ends with whose transaction came to this."""
    return Exit.OK if outcome.status in ("included", "pending") else Exit.REFUSED


def _tabulate_delegations(found: Account, names: dict[str, str]) -> Table:
    rows = [
        (
            str(one.task),
            one.name,
            short(one.operator, names),
            str(one.shares),
            format_fml(one.worth_units),
            str(one.leaving_shares),
            format_fml(one.waiting_units),
        )
        for one in found.delegations
    ]
    headings = (">TASK", "NAME", "OPERATOR", ">SHARES", ">WORTH FML", ">LEAVING SHARES", ">WAITING FML")
    return Table(headings, rows, "delegations")


def _format_field(name: str, value: object, names: dict[str, str]) -> str:
    if isinstance(value, int) and name.endswith("units"):
        return f"{format_fml(value)} FML"
    text = str(value)
    known = names.get(text)
    if known is not None:
        return f"{known} ({short(text)})"
    return text if len(text) <= MAX_NOTED_CHARACTERS else f"{text[:MAX_NOTED_CHARACTERS]}… ({len(text)} characters)"
