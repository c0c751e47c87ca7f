"""Crash at every write of one height, for a proposer and another replica: nothing is contradicted, one log results."""

from tests.sim.every_write import Crash, crash, try_crash
from tests.sim.simulate import run_on_all_cores

# More writes than a height makes.
MANY = 10**6
POINTS = {"append", "sync", "sync done", "rotate", "rotate done", "batch", "batch done"}


def test_a_crash_at_any_write_of_a_height_changes_nothing() -> None:
    """The node comes back, says the same bytes again, and all logs are one; wherever in the height the power went."""
    wholes = {(turn, others): Crash(turn, MANY, others, 1) for turn in (0, 1) for others in ("alone", "all", "needed")}
    points = {place: crash(case).points for place, case in wholes.items()}
    assert all(set(points[turn, others]) >= POINTS for turn in (0, 1) for others in ("alone", "all"))
    cases = [Crash(turn, number, others, 1) for (turn, others), all in points.items() for number in range(len(all))]
    results = run_on_all_cores(try_crash, cases)
    failed = [f"{case}: {failure}" for case, _, failure in results if failure]
    assert not failed, "\n".join(failed)
    # The schedule up to the crash is the same, so these are all the writes there are.
    for case, point, _ in results:
        assert point == points[case.turn, case.others][case.writes], str(case)
    print(f"{len(cases)} crashes")
