"""An Arena task with people who delegate, on the real ledger."""

from protocol.ledger import check_header
from protocol.rules import purses
from protocol.rules.arena import vaults
from protocol.rules.arena.records import get_places
from protocol.rules.context import Context
from protocol.state import Overlay
from protocol.transactions import Delegate, Role, SetRewardShare, Undelegate
from tests.arena_play import Play
from tests.ledger_driver import Person

SHARE = 200_000


class DelegationPlay(Play):
    """A play with people who only delegate."""

    def __init__(self, **options) -> None:
        self.delegators = [Person(f"delegator {number}") for number in range(3)]
        super().__init__(bystanders=self.delegators, **options)

    def delegate(self, who: Person, operator: Person, units: int) -> None:
        """Delegate, and expect that it is accepted."""
        receipt = self.send(who, Delegate(self.task, operator.address, units))
        assert receipt.error == 0, receipt

    def undelegate(self, who: Person, operator: Person, shares: int) -> None:
        """Ask shares back, and expect that it is accepted."""
        receipt = self.send(who, Undelegate(self.task, operator.address, shares))
        assert receipt.error == 0, receipt

    def share(self, operator: Person, millionths: int) -> None:
        """Set a reward share, and expect that it is accepted."""
        receipt = self.send(operator, SetRewardShare(self.task, millionths))
        assert receipt.error == 0, receipt

    def vault(self, operator: Person) -> int:
        """Return what an operator's vault holds, in units."""
        return self.units(purses.vault_of(self.task, operator.address))

    def waiting(self, operator: Person, who: Person) -> int:
        """Return what waits for the next epoch, in units."""
        return self.units(purses.waiting_of(self.task, operator.address, who.address))

    def shares(self, operator: Person, who: Person) -> int:
        """Return the shares that somebody holds."""
        found = vaults.get_delegation(self.ledger.state, self.task, operator.address, who.address)
        return 0 if found is None else found.shares

    def worth(self, operator: Person, who: Person) -> int:
        """Return what the shares that somebody holds are worth, in units."""
        return vaults.get_worth(self.ledger.state, self.task, operator.address, self.shares(operator, who))

    def unbonding(self, who: Person) -> int:
        """Return what is on its way back to somebody, in units."""
        found = purses.scan_purses(self.ledger.state, b"u")
        return sum(units for purse, units in found if purse.endswith(who.address))

    def overlay(self) -> tuple[Overlay, Context]:
        """Return changes on top of the state, and the surroundings of the next block."""
        block = self.ledger.make_block()
        return Overlay(self.ledger.state), check_header(self.ledger.before, block)

    def expect_counted(self) -> None:
        """Assert that shares, delegators and places are what the delegations add up to, and no unit is missing."""
        self.expect_conserved()
        total = 0
        for key, vault in vaults.VAULTS.scan(self.ledger.state):
            task, operator = int.from_bytes(key[:8], "big"), key[8:]
            found = vaults.scan_delegations(self.ledger.state, task, operator)
            assert vault.shares == sum(delegation.shares for _, delegation in found)
            assert vault.delegators == sum(delegation.size is not None for _, delegation in found)
            assert all(delegation.leaving <= delegation.shares for _, delegation in found)
            held = self.units(purses.vault_of(task, operator))
            assert sum(vaults.get_worth(self.ledger.state, task, operator, d.shares) for _, d in found) <= held
            assert vault.shares or not held
            total += vault.delegators
        assert get_places(self.ledger.state, self.task).delegations == total


def begin(play: DelegationPlay, *delegations: tuple[Person, Person, int], share: int = SHARE) -> DelegationPlay:
    """Let all join, trainer 0 set its share, others delegate, and the first epoch begin."""
    for role, people in ((Role.TRAINER, play.trainers), (Role.VALIDATOR, play.validators)):
        for person in people:
            play.ledger.join(person, play.task, role)
    play.ledger.block()
    if share:
        play.share(play.trainers[0], share)
    for who, operator, units in delegations:
        play.delegate(who, operator, units)
    return play.begin(joined=True)
