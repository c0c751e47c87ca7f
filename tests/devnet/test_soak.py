"""Memory and open files over a long run: the verdict, and one real daemon that must pass it."""

from devnet.screen import Screen
from devnet.soak import Growth, Sample, SoakOptions, check_growth, measure_growth, soak

SEED = 20251123
# A replica that decides alone makes a hundred blocks a second; most of what it may remember fills in the warm-up.
LONE_BLOCKS = 2_400
LONE_WARM_UP = 0.6
# A leak of 2 kB a block is 2 MB in 1,000 blocks, on top of the ids of messages that still come in.
LONE_GROWTH_MB = 2.5


def make_samples(memory_mb, files=lambda number: 20):
    """Return samples of 2,000 blocks, each made of its number from 0 to 80."""
    return [Sample(25 * number, memory_mb(number), files(number)) for number in range(81)]


def test_what_fills_in_the_warm_up_is_no_growth():
    """Nor are a few samples taken while a garbage collection was due, or a client connected."""
    samples = make_samples(
        lambda number: min(60 + number, 80) + (5 if number % 9 == 0 else 0), lambda number: 20 + number % 2
    )
    assert measure_growth(samples) == Growth(0, 0)


def test_a_leak_is_measured():
    """Two kilobytes a block, beneath noise that is larger; and four files from one third to the next but one."""
    growth = measure_growth(make_samples(lambda number: 100 + 0.05 * number + number % 3, lambda number: number // 10))
    assert 1.9 < growth.memory_mb < 2.1
    assert growth.files == 4


def test_either_growth_of_any_daemon_fails():
    """The verdict is about the worst daemon."""
    flat = Growth(0.3, 0)
    assert [check.passed for check in check_growth({"a": flat, "b": flat})] == [True, True]
    assert [check.passed for check in check_growth({"a": flat, "b": Growth(4.1, 0)})] == [False, True]
    assert [check.passed for check in check_growth({"a": Growth(0.3, 3), "b": flat})] == [True, False]


async def test_a_daemon_stays_as_large_as_it_was(tmp_path):
    """A real daemon makes thousands of blocks under transfers, questions, subscriptions and blobs; none of it stays."""
    options = SoakOptions(blocks=LONE_BLOCKS, seed=SEED, json=None)
    samples = await soak(tmp_path, options, Screen(), replicas=1)
    growth = {name: measure_growth(found, warm_up=LONE_WARM_UP) for name, found in samples.items()}
    checks = check_growth(growth, max_growth_mb=LONE_GROWTH_MB)
    told = [[f"{s.height}: {s.memory_mb:.1f} MB, {s.files}" for s in found[::8]] for found in samples.values()]
    assert all(check.passed for check in checks), f"seed {SEED}: {checks} {told}"
