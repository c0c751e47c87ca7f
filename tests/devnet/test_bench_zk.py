"""The figures of zkFL, those of a moment, at a tenth of the size that their goals are for."""

from devnet.bench.zk import measure_round


def test_a_round_of_ten_thousand_values_is_proven_in_time() -> None:
    """Of 100,000 values the goals are 1 s to prove, 0.3 s to verify, in processor time, and 2,000 bytes of proof."""
    found = {figure.name.partition(": ")[2]: figure.value for figure in measure_round(10_000)}
    assert found["prove"] < 1_000
    assert found["verify, points not seen before"] < 300
    assert found["proof"] == 944
    assert found["commitment, a client"] == 10 * 48
