"""Commands about the log: head, block, parameters, supply."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from cyclopts import App

from flocknode.cli.options import Common
from flocknode.cli.output import show
from flocknode.cli.text import Table, format_duration, format_fields, format_fml, short
from flocknode.home import load_names
from flocknode.rpc.call import call
from flocknode.rpc.chain_records import ChainParams, HeaderList, Supply
from flocknode.rpc.records import Block, ChainHead

chain = App(name="chain")


@chain.command
def head(*, options: Common) -> None:
    """Show the newest committed block of this node."""

    def render(found: ChainHead) -> str:
        return format_fields(
            [
                ("chain", found.chain),
                ("height", str(found.height)),
                ("block", found.block),
                ("time", _format_time(found.time_ms)),
                ("state root", found.state_root),
                ("receipts root", found.receipts_root),
            ]
        )

    show(options, call(options.home, "chain.head", ChainHead), render)


@chain.command
def block(height: int | None = None, /, *, options: Common) -> None:
    """Show a block, its transactions and who signed it.

    Parameters
    ----------
    height
        The newest block if not given.
    """
    names = load_names(options.home)

    def render(found: Block) -> list[str | Table]:
        signed = sum(signer.power for signer in found.signers if signer.has_signed)
        power = sum(signer.power for signer in found.signers)
        fields = [
            ("height", str(found.height)),
            ("block", found.block),
            ("time", _format_time(found.time_ms)),
            ("proposer", f"{short(found.proposer, names)} in round {found.round}"),
            ("committed", f"in round {found.commit_round} by {signed / power:.1%} of the power"),
            ("previous", found.previous_block),
            ("state root before", found.state_root),
            ("size", f"{found.size_bytes} bytes"),
        ]
        signers = [
            (short(one.consensus_key, names), format_fml(one.power), "yes" if one.has_signed else "no")
            for one in found.signers
        ]
        transactions = [
            (one.id, one.kind, short(one.sender, names), one.message if one.error else "applied")
            for one in found.transactions
        ]
        parts: list[str | Table] = [format_fields(fields), "", Table(("REPLICA", ">POWER", "SIGNED"), signers)]
        return parts + (["", Table(("TRANSACTION", "KIND", "SENDER", "RESULT"), transactions)] if transactions else [])

    show(options, call(options.home, "chain.block", Block, height=height), render)


@chain.command
def headers(*, from_height: int | None = None, limit: int = 20, options: Common) -> None:
    """List blocks without their transactions.

    Parameters
    ----------
    from_height
        The first block; if not given, the newest blocks.
    limit
        How many to list at most.
    """
    names = load_names(options.home)

    def render(found: HeaderList) -> Table:
        rows = [
            (
                str(one.height),
                one.block,
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.time_ms / 1000)),
                str(one.round),
                short(one.proposer, names),
                str(one.transactions),
            )
            for one in found.headers
        ]
        return Table((">HEIGHT", "BLOCK", "TIME", ">ROUND", "PROPOSER", ">TXS"), rows)

    found = call(options.home, "chain.headers", HeaderList, from_height=from_height, limit=limit)
    show(options, found, render)


@chain.command
def params(*, options: Common) -> None:
    """Show the parameters of the protocol that are in force."""

    names = load_names(options.home)

    def render(found: ChainParams) -> Table:
        governance = "none" if found.governance is None else short(found.governance, names)
        rows = [(name, str(value)) for name, value in _flatten(found.parameters, "")]
        return Table(("PARAMETER", ">VALUE"), [("governance", governance), *rows])

    show(options, call(options.home, "chain.params", ChainParams), render)


@chain.command
def supply(*, options: Common) -> None:
    """Show where all FML is: genesis + minted - burned = total = the sum of the places."""

    def render(found: Supply) -> list[str | Table]:
        origins = [
            ("genesis", found.genesis_units),
            ("minted", found.minted_units),
            ("burned", -found.burned_units),
            ("total", found.total_units),
        ]
        places = [(name, format_fml(units)) for name, units in found.places.items()]
        return [
            f"at height {found.height}",
            "",
            Table(("ORIGIN", ">FML"), [(name, format_fml(units)) for name, units in origins]),
            "",
            Table(("PLACE", ">FML"), places),
            "",
            f"{found.emission.period} emissions so far; the next, at {_format_due(found.emission.next_ms)}, brings"
            f" {format_fml(found.emission.next_units)} FML to verified tasks, from the reserve first",
        ]

    show(options, call(options.home, "chain.supply", Supply), render)


def _format_due(time_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_ms / 1000))


def _flatten(parameters: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, object]]:
    """Yield names and values; what stands in a group has the group's name and a dot before its own."""
    for name, value in parameters.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _format_time(time_ms: int) -> str:
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_ms / 1000))
    return f"{clock}.{time_ms % 1000:03d}  ({format_duration(time.time_ns() // 10**6 - time_ms)} ago)"
