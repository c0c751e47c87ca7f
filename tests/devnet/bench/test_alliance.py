"""What the bench of alliances says of Flower, also where that is not installed."""

from devnet.bench.alliance import Flower, describe_flower
from devnet.bench.figures import Figure, format_value


def test_without_flower_its_row_says_how_to_install_it() -> None:
    """The bench runs without the extra, and shows no value where none was measured."""
    (row,) = describe_flower(None, 50)
    assert row.unit == "not installed: pip install 'flocknode[bench]'"
    assert format_value(row) == "-"


def test_flowers_rate_counts_its_own_seconds() -> None:
    """Rounds by the seconds that Flower took, and its accuracy in percent."""
    rate, accuracy = describe_flower(Flower(seconds=4.0, accuracy=0.9125), 50)
    assert (rate.value, accuracy.value) == (12.5, 91.25)
    assert format_value(Figure(name="", value=1234.5, unit="")) == "1,234.50"
