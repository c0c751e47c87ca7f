"""Money in a study: everybody's merit is paid or slashed, and no unit is made or lost."""

from devnet.study.bank import SETTINGS, STAKE_UNITS, Bank
from devnet.study.expectation import PERCENTS, expect
from protocol.fixed import MILLION

ONE, TWO, THREE = (bytes([number]) * 32 for number in (1, 2, 3))


def test_rewards_come_from_the_pool_and_slashes_go_back_less_what_burns() -> None:
    """Of 384 FML over 4 rounds 96 are paid in the first by merit; of the slashed 8 FML a tenth burns."""
    bank = Bank((ONE, TWO, THREE), rounds=4)
    bank.settle({ONE: MILLION, TWO: 0})
    slash = STAKE_UNITS * SETTINGS.slash_millionths // MILLION
    assert bank.stakes == {ONE: STAKE_UNITS + 48 * 10**9, TWO: STAKE_UNITS - slash, THREE: STAKE_UNITS}
    assert bank.burned == slash // 10
    assert bank.pool == 384 * 10**9 - 48 * 10**9 + slash - slash // 10
    assert bank.drift == 0
    bank.stakes[ONE] += 1
    assert bank.drift == 1


def test_who_has_lost_half_is_out() -> None:
    """Six slashes of an eighth leave less than half of the stake; the other two stay."""
    bank = Bank((ONE, TWO, THREE), rounds=10)
    for _ in range(5):
        bank.settle({ONE: 0})
    assert ONE in bank.get_candidates()
    bank.settle({ONE: 0})
    assert bank.get_candidates() == (TWO, THREE)
    assert bank.drift == 0


def test_the_papers_setting_without_training() -> None:
    """With 50 clients, a tenth to four tenths malicious, honest stakes rise, malicious ones fall, nothing drifts.

    A fixed transfer ends at 64 / (1 - share): 71.1, 80.0, 91.4, 106.7.
    """
    found = [expect(percent, 3) for percent in PERCENTS]
    for one in found:
        assert one.honest_units > 3 * STAKE_UNITS
        assert one.malicious_units < STAKE_UNITS // 2
        assert (one.honest_expelled, one.malicious_expelled) == (0, one.malicious_percent // 2)
        assert one.drift_units == 0
    assert [f"{one.limit_units / 10**9:.1f}" for one in found] == ["71.1", "80.0", "91.4", "106.7"]
