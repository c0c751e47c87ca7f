"""Every unit of FML lies in exactly one purse, and moves only through this module.

A purse is named by what its money is bonded to, so that each unit serves one purpose at a time. Conservation needs no
trust in the other rules: `compute_drift` compares all purses that a block changed with what it minted and burned.
"""

from collections.abc import Iterator

from protocol.codec import encode, read
from protocol.crypto import integer_bytes
from protocol.errors import InsufficientFunds
from protocol.state import Overlay, StateView, Table
from protocol.types import Amount, Record

PREFIX = b"P"


class Supply(Record):
    """Units ever minted, the genesis supply included, and units ever burned."""

    minted: Amount
    burned: Amount


class Due(Record):
    """An unbonding purse waits for its time; the key says it all."""


SUPPLY = Table(b"Y", Supply)
# Keys: release time (8 bytes), then the purse. A slash may have emptied it since.
DUE = Table(b"u", Due)
UNBONDING = b"u"

TREASURY = b"t"
# What was emitted and could not be paid to anybody: used up before anything is minted anew.
RESERVE = b"x"
ADDRESS_BYTES = 32


def balance_of(address: bytes) -> bytes:
    """Return the purse an account spends from."""
    return b"b" + address


def replica_bond_of(address: bytes) -> bytes:
    """Return the purse that backs an account's voting power."""
    return b"k" + address


def stake_of(task: int, address: bytes) -> bytes:
    """Return the purse of an account's stake in one role of one task."""
    return b"s" + integer_bytes(task) + address


def vault_of(task: int, operator: bytes) -> bytes:
    """Return the purse of what others delegated to an account's role in a task, and what that earned."""
    return b"v" + integer_bytes(task) + operator


def waiting_of(task: int, operator: bytes, delegator: bytes) -> bytes:
    """Return the purse of what an account delegates from the next epoch of a task on."""
    return b"w" + integer_bytes(task) + operator + delegator


def count_task_stake(state: StateView, task: int) -> int:
    """Return the stake of everybody in a task, delegators included, in units (S_i of E3)."""
    kinds = (b"s", b"v")
    return sum(units for kind in kinds for _, units in scan_purses(state, kind + integer_bytes(task)))


def deposit_of(task: int, address: bytes) -> bytes:
    """Return the purse of the creator's deposit, or of a trainer's seat deposit."""
    return b"d" + integer_bytes(task) + address


def pot_of(task: int) -> bytes:
    """Return the purse that a task's coming epochs are paid from."""
    return b"p" + integer_bytes(task)


def emission_of(task: int) -> bytes:
    """Return the purse of what was emitted for a task since its last settlement."""
    return b"e" + integer_bytes(task)


def reward_b_of(task: int) -> bytes:
    """Return the purse in which reward B accrues until the last epoch (A15)."""
    return b"r" + integer_bytes(task)


def alliance_bond_of(alliance: int, creator: bytes) -> bytes:
    """Return the purse of a creator's stake in its alliance."""
    return b"c" + integer_bytes(alliance) + creator


def alliance_stake_of(alliance: int, address: bytes) -> bytes:
    """Return the purse of a participant's stake in an alliance (Bal_k of Algorithm 2)."""
    return b"f" + integer_bytes(alliance) + address


def count_alliance_stake(state: StateView, alliance: int) -> int:
    """Return the stake of an alliance's creator and participants, in units (S_i of E3)."""
    kinds = (b"c", b"f")
    return sum(units for kind in kinds for _, units in scan_purses(state, kind + integer_bytes(alliance)))


def pool_of(alliance: int) -> bytes:
    """Return the purse that an alliance's rounds are paid from (pool_p of Algorithm 2)."""
    return b"a" + integer_bytes(alliance)


def unbonding_of(bond: bytes, *, begun: int, release_ms: int, owner: bytes) -> bytes:
    """Return the purse of units that left a bond and return to their owner at a block time.

    `bond` is the stake's purse of the role that they stood for, their own or another's, and `begun` how many epochs or
    rounds of it had begun when they left: for faults in those they can still be slashed.
    """
    return UNBONDING + bond + integer_bytes(begun) + integer_bytes(release_ms) + owner


def get_units(state: StateView, purse: bytes) -> int:
    """Return what a purse holds, in base units."""
    value = state.get(PREFIX + purse)
    return 0 if value is None else read(value, int)


def count_stake(state: StateView, task: int, address: bytes) -> int:
    """Return the stake that an account's role in a task counts with, in units: its own and what is delegated to it."""
    return get_units(state, stake_of(task, address)) + get_units(state, vault_of(task, address))


def move(state: Overlay, source: bytes, target: bytes, units: int) -> None:
    """Move units between purses; raises `InsufficientFunds` when the source holds less."""
    _take(state, source, units)
    _put(state, target, get_units(state, target) + units)


def move_all(state: Overlay, source: bytes, target: bytes) -> None:
    """Empty one purse into another."""
    move(state, source, target, get_units(state, source))


def mint(state: Overlay, target: bytes, units: int) -> None:
    """Create units in a purse: the genesis supply and the emission, nothing else."""
    supply = get_supply(state)
    SUPPLY.put(state, Supply(minted=supply.minted + units, burned=supply.burned))
    _put(state, target, get_units(state, target) + units)


def burn(state: Overlay, source: bytes, units: int) -> None:
    """Destroy units of a purse; raises `InsufficientFunds` when it holds less."""
    _take(state, source, units)
    supply = get_supply(state)
    SUPPLY.put(state, Supply(minted=supply.minted, burned=supply.burned + units))


def get_supply(state: StateView) -> Supply:
    """Return the counters of money made and destroyed."""
    return SUPPLY.get(state) or Supply(minted=0, burned=0)


def scan_purses(state: StateView, kind: bytes = b"") -> Iterator[tuple[bytes, int]]:
    """Yield (purse, units) for all purses whose name starts with `kind`, sorted."""
    for key, value in state.scan(PREFIX + kind):
        yield key[len(PREFIX) :], read(value, int)


def scan_waiting(state: StateView, task: int) -> list[tuple[bytes, bytes]]:
    """Return (operator, delegator) of all purses that wait for the next epoch of a task, sorted."""
    kind = b"w" + integer_bytes(task)
    names = [purse.removeprefix(kind) for purse, _ in scan_purses(state, kind)]
    return [(name[:ADDRESS_BYTES], name[ADDRESS_BYTES:]) for name in names]


def unbond(
    state: Overlay, source: bytes, units: int, *, bond: bytes, begun: int, release_ms: int, owner: bytes
) -> None:
    """Let units leave a bond: they return to their owner at a block time, and can be slashed until then."""
    if units:
        purse = unbonding_of(bond, begun=begun, release_ms=release_ms, owner=owner)
        move(state, source, purse, units)
        DUE.put(state, Due(), integer_bytes(release_ms), purse)


def find_unbonding(state: StateView, bond: bytes, *, number: int) -> list[bytes]:
    """Return the purses of what left a bond, but was there when its epoch or round of this number began; sorted."""
    start = len(UNBONDING + bond)
    found = [purse for purse, _ in scan_purses(state, UNBONDING + bond)]
    return [purse for purse in found if int.from_bytes(purse[start:][:8], "big") > number]


def release_unbonded(state: Overlay, now_ms: int) -> None:
    """Pay out every unbonding purse whose time has come."""
    for key, _ in DUE.scan(state):
        release_ms, purse = int.from_bytes(key[:8], "big"), key[8:]
        if release_ms > now_ms:
            break
        move_all(state, purse, balance_of(purse[-ADDRESS_BYTES:]))
        DUE.delete(state, key)


def compute_drift(before: StateView, after: Overlay) -> int:
    """Return units that appeared from nowhere between two states: 0, or a rule is wrong."""
    changed = [key[len(PREFIX) :] for key in after.changes if key.startswith(PREFIX)]
    moved = sum(get_units(after, purse) - get_units(before, purse) for purse in changed)
    old, new = get_supply(before), get_supply(after)
    return moved - (new.minted - old.minted) + (new.burned - old.burned)


def _take(state: Overlay, purse: bytes, units: int) -> None:
    held = get_units(state, purse)
    if held < units:
        raise InsufficientFunds(f"{units} units are needed, {held} are there", have=held, need=units)
    _put(state, purse, held - units)


def _put(state: Overlay, purse: bytes, units: int) -> None:
    state.put(PREFIX + purse, encode(units) if units else None)
