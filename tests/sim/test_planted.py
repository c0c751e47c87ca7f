"""The simulator finds bugs: each of those that are planted here ends a seed, in few of them, and without them none."""

from tests.sim.planted import PLANTS, search
from tests.sim.simulate import run_on_all_cores

SIZE = 4
# A quarter of the seeds that the suite runs with this size.
SEEDS = 60


def test_every_planted_bug_is_found() -> None:
    """A lock that does not hold, a vote counted twice, an fsync left out: each breaks something that the judge sees."""
    found = run_on_all_cores(search, [(name, SIZE, SEEDS) for name in PLANTS])
    print("\n".join(f"{find.name}: {find.seeds} seeds, {find.failure}" for find in found))
    assert [find.name for find in found if not find.failure] == []
