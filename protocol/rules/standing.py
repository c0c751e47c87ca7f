"""Who is more than an account: the governance account, who was once paid for work, and whom governance recognised.

White paper V.A: creators qualify by stake, by their record, or by recognition. Until governance is a vote of its own,
one account that the genesis document names stands in for it.
"""

from msgspec.structs import replace

from protocol.errors import AlreadyDone, NotEligible
from protocol.rules.context import Context
from protocol.state import Overlay, StateView, Table
from protocol.transactions import Recognise
from protocol.types import Address, Record


class Governance(Record):
    """The account that verifies tasks and recognises creators."""

    account: Address


class Standing(Record):
    """What an account is known for: it was paid for work in a verified task or alliance; governance recognised it."""

    has_record: bool
    is_recognised: bool


GOVERNANCE = Table(b"G", Governance)
STANDING = Table(b"I", Standing)
UNKNOWN = Standing(has_record=False, is_recognised=False)


def get_governance(state: StateView) -> bytes | None:
    """Return the governance account, if the chain has one."""
    record = GOVERNANCE.get(state)
    return None if record is None else record.account


def require_governance(state: StateView, sender: bytes) -> None:
    """Return if the sender is the governance account; raises `NotEligible`."""
    if get_governance(state) != sender:
        raise NotEligible("only the governance account does this; the genesis document may name one")


def get_standing(state: StateView, address: bytes) -> Standing:
    """Return what an account is known for."""
    return STANDING.get(state, address) or UNKNOWN


def note_paid(state: Overlay, address: bytes) -> None:
    """Note that an account was paid for its work in a verified task or alliance.

    Elsewhere a founder pays for itself, and so could pay its own accounts: whatever sum was asked for would come back,
    and the record with it. What governance vouches for is paid by the emission, for ranks and votes among others.
    """
    standing = get_standing(state, address)
    if not standing.has_record:
        STANDING.put(state, replace(standing, has_record=True), address)


def recognise(state: Overlay, context: Context, sender: bytes, payload: Recognise) -> None:
    """Let an account create tasks without a stake, for what it is known for elsewhere."""
    require_governance(state, sender)
    standing = get_standing(state, payload.account)
    if standing.is_recognised:
        raise AlreadyDone("the account is recognised")
    STANDING.put(state, replace(standing, is_recognised=True), payload.account)


def check_creator(state: StateView, context: Context, address: bytes, stake: int) -> None:
    """Return if the account may create a task or an alliance with this stake: by stake, record or recognition.

    Raises `NotEligible`. A task's deposit is due from all creators: it is what fraud costs.
    """
    standing, need = get_standing(state, address), context.params.min_stake_creator_units
    if stake < need and not standing.has_record and not standing.is_recognised:
        raise NotEligible(
            f"a creator stakes at least {need} units, or was paid in a verified task or alliance, "
            "or is recognised by governance",
            have=stake,
            need=need,
        )
