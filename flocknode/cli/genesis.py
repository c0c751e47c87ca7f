"""The command that begins a chain."""

from pathlib import Path
from typing import Literal

from cyclopts import App

from flocknode.cli.options import Common
from flocknode.cli.output import show
from flocknode.cli.text import format_fields, format_fml, parse_fml
from flocknode.errors import UsageError
from flocknode.home import Home

genesis = App(name="genesis")


@genesis.command
def make(
    *,
    out: Path,
    preset: Literal["devnet", "mainnet"] = "devnet",
    balance: str,
    bond: str,
    name: str = "devnet",
    governance: str | None = None,
    options: Common,
) -> None:
    """Make the genesis document of a chain from the public keys of several homes: repeat --home for each.

    Parameters
    ----------
    out
        The file to write; hand it to `flocknode init --genesis`.
    preset
        The parameters of the protocol.
    balance
        FML that each account starts with.
    bond
        FML that each account is bonded with as a replica, on top of its balance.
    name
        Name of the chain.
    governance
        Name of the home whose account verifies tasks, for the emission, and recognises creators; nobody's if not given.
    """
    from flocknode import founding
    from protocol.genesis import GenesisDocument, genesis_digest

    if not options.homes:
        raise UsageError("name the homes of the chain's first accounts, each with --home")
    document = founding.make_genesis(
        [Home(path.expanduser()) for path in options.homes],
        preset=preset,
        name=name,
        balance_units=parse_fml(balance),
        bond_units=parse_fml(bond),
        governance=governance,
    )
    founding.save_document(out, document)

    def render(document: GenesisDocument) -> str:
        total_units = sum(one.balance for one in document.accounts) + sum(one.bond for one in document.replicas)
        return format_fields(
            [
                ("file", str(out)),
                ("chain", genesis_digest(document).hex()),
                ("accounts", ", ".join(account.name for account in document.accounts)),
                ("replicas", str(len(document.replicas))),
                ("governance", governance or "nobody"),
                ("supply", f"{format_fml(total_units)} FML"),
            ]
        )

    if options.json:
        show(options, {"file": str(out), "chain": genesis_digest(document).hex()}, lambda _: "")
    else:
        show(options, document, render)
