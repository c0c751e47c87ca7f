"""What the methods about headers, parameters and money answer with; the conventions are those of `records`."""

from typing import Any

from flocknode.rpc.records import Count, Hex32, Result, Units


class Header(Result):
    """A block without its transactions."""

    height: Count
    block: Hex32
    time_ms: Count
    round: Count
    proposer: Hex32
    previous_block: Hex32
    state_root: Hex32
    transactions: Count


class HeaderList(Result):
    """Blocks in the order of the log."""

    headers: tuple[Header, ...]


class ChainParams(Result):
    """The parameters of the protocol in force; names carry the units. `governance` verifies tasks."""

    height: Count
    governance: Hex32 | None
    parameters: dict[str, Any]


class Emission(Result):
    """How many emissions there were, the time from which the next is due, and what it is worth to verified tasks."""

    period: Count
    next_ms: Count
    next_units: Units


class Supply(Result):
    """Where all FML is: genesis + minted - burned = total = the sum of the places."""

    height: Count
    genesis_units: Units
    minted_units: Units
    burned_units: Units
    total_units: Units
    places: dict[str, Units]
    emission: Emission
