"""Whatever happens to vaults in whatever order: shares, units and places always add up."""

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from protocol.errors import ProtocolError
from protocol.params import DEVNET
from protocol.rules import purses
from protocol.rules.arena import delegation, settlement, vaults
from protocol.rules.arena.records import get_places, get_task
from protocol.rules.context import Context
from protocol.state import MemoryState, Overlay
from protocol.transactions import Delegate, SetRewardShare, Undelegate
from protocol.types import MILLION
from tests.delegation_play import DelegationPlay, begin
from tests.ledger_driver import FML

TASK = 1
AMOUNTS = st.one_of(st.integers(1, 3), st.integers(1, 10**9), st.integers(1, 5_000)).map(lambda n: n * FML // 7)
PARTS = st.sampled_from([1, 50_000, 333_333, 500_000, 999_999, MILLION])


@cache
def begun() -> tuple[DelegationPlay, MemoryState, Context]:
    """Return a task in its first epoch, its state, and the surroundings of the next block. Nobody changes them."""
    play = begin(DelegationPlay())
    _, context = play.overlay()
    return play, play.ledger.state, replace_params(context)


def replace_params(context: Context) -> Context:
    """Return a context in which two delegators fit, so that the bound is met."""
    values = {name: getattr(context, name) for name in context.__dataclass_fields__}
    return Context(**{**values, "params": replace(DEVNET, min_delegation_units=1, max_delegators=2)})


class Vaults:
    """One state that each step changes."""

    def __init__(self, data: st.DataObject) -> None:
        self.play, base, self.context = begun()
        self.state, self.draw, self.seen = Overlay(base), data.draw, Overlay(base)
        self.operators = [person.address for person in (self.play.trainers[0], *self.play.validators[:2])]
        self.people = [person.address for person in self.play.delegators]

    def step(self) -> None:
        """Do one thing that people or the end of an epoch do."""
        operator, who = self.draw(st.sampled_from(self.operators)), self.draw(st.sampled_from(self.people))
        prices = self.prices()
        match self.draw(st.sampled_from(["delegate", "delegate", "undelegate", "share", "epoch", "slash", "reward"])):
            case "delegate":
                self.attempt(delegation.delegate, who, Delegate(TASK, operator, self.draw(AMOUNTS)))
            case "undelegate":
                held = vaults.get_delegation(self.state, TASK, operator, who)
                most = held.shares if held and held.shares else 1
                shares = self.draw(st.one_of(st.just(most), st.integers(1, most)))
                self.attempt(delegation.undelegate, who, Undelegate(TASK, operator, shares))
            case "share":
                change = SetRewardShare(TASK, self.draw(st.integers(0, MILLION // 2)))
                self.attempt(delegation.set_reward_share, operator, change)
            case "epoch":
                vaults.release_leaving(self.state, self.context, self.task())
                vaults.begin_vaults(self.state, self.context, self.task())
            case "slash":
                self.slash(operator, self.draw(PARTS))
                return
            case "reward":
                vaults.collect_points(self.state, TASK, operator)
                pot = purses.get_units(self.state, purses.pot_of(TASK))
                units = self.draw(st.integers(0, pot // 10))
                vaults.pay_operator(self.state, TASK, purses.pot_of(TASK), operator, units)
        self.expect_no_loss(prices)

    def slash(self, operator: bytes, part: int) -> None:
        """Slash an operator: all that stands for it loses the same part, what left alike, rounded up to a unit."""
        bonds = settlement.find_bonds(self.state, self.task(), operator, epoch=0)
        held = {purse: units for purse, units in purses.scan_purses(self.state) if purse[:1] in b"svu"}
        taken = settlement.slash_stake(self.state, self.context, self.task(), operator, part, epoch=0)
        for purse, units in held.items():
            lost = units - purses.get_units(self.state, purse)
            taken -= lost
            assert lost == (-(-units * part // MILLION) if purse in bonds else 0)
        assert taken == 0

    def task(self):
        """Return the task as it is now."""
        return get_task(self.state, TASK)

    def attempt(self, rule, sender: bytes, payload) -> None:
        """Apply a payload as the ledger does: wholly or not at all."""
        attempt = Overlay(self.state)
        try:
            rule(attempt, self.context, sender, payload)
        except ProtocolError:
            return
        attempt.merge()

    def prices(self) -> dict[bytes, tuple[int, int]]:
        """Return (units, shares) of every vault with shares."""
        found = ((operator, vaults.find_vault(self.state, TASK, operator)) for operator in self.operators)
        return {
            operator: (purses.get_units(self.state, purses.vault_of(TASK, operator)), vault.shares)
            for operator, vault in found
            if vault is not None and vault.shares
        }

    def expect_no_loss(self, before: dict[bytes, tuple[int, int]]) -> None:
        """Assert that no share is worth less than before what was no slash."""
        for operator, (units, shares) in self.prices().items():
            old_units, old_shares = before.get(operator, (0, 1))
            assert units * old_shares >= old_units * shares

    def expect_sound(self) -> None:
        """Assert that everything adds up."""
        assert purses.compute_drift(self.seen, self.state) == 0
        total = 0
        for operator in self.operators:
            vault = vaults.find_vault(self.state, TASK, operator)
            if vault is None:
                continue
            found = vaults.scan_delegations(self.state, TASK, operator)
            total += vault.delegators
            # Two places, and those that gave theirs up in this epoch have not left yet.
            assert len(found) <= 4
            assert vault.delegators == sum(one.size is not None for _, one in found) <= 2
            assert vault.shares == sum(one.shares for _, one in found)
            assert vault.shares or not purses.get_units(self.state, purses.vault_of(TASK, operator))
            assert sum(vaults.count_points(one, vault) for _, one in found) <= vaults.from_wide(vault.points)
            for who, one in found:
                waits = purses.get_units(self.state, purses.waiting_of(TASK, operator, who))
                assert one.leaving <= one.shares
                assert one.shares or waits, "a place without a delegation"
        assert get_places(self.state, TASK).delegations == total

    def close(self) -> None:
        """Assert that the end of the task leaves nothing behind."""
        for operator in self.operators:
            vaults.unbond_vault(self.state, self.context, self.task(), operator)
        assert purses.compute_drift(self.seen, self.state) == 0
        for table in (vaults.VAULTS, vaults.SIZES, vaults.DELEGATIONS, vaults.DELEGATORS, vaults.LEAVING):
            assert not list(table.scan(self.state))
        for kind in (b"v", b"w"):
            assert not list(purses.scan_purses(self.state, kind))
        assert get_places(self.state, TASK).delegations == 0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_vaults_add_up_whatever_happens(data: st.DataObject) -> None:
    """Delegating, leaving, raising, cutting, rewarding and slashing in any order; then the task ends."""
    play = Vaults(data)
    for _ in range(data.draw(st.integers(1, 25))):
        play.step()
        play.expect_sound()
    play.close()
