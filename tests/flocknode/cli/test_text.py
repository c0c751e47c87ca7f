"""How values look and are read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flocknode.cli.text import (
    Table,
    format_duration,
    format_fml,
    format_millionths,
    format_table,
    parse_fml,
    parse_millionths,
    short,
)
from flocknode.errors import UsageError


@pytest.mark.parametrize(
    ("units", "text"),
    [(0, "0"), (1, "0.000000001"), (1_500_000_000, "1.5"), (10**12, "1000"), (2**63 - 1, "9223372036.854775807")],
)
def test_amounts_have_no_trailing_zeros(units, text):
    """Base units become FML exactly, with nine decimals trimmed."""
    assert format_fml(units) == text


@given(st.integers(0, 2**63 - 1))
def test_amounts_read_back(units):
    """Every amount that is shown reads back as the same units: nothing is rounded."""
    assert parse_fml(format_fml(units)) == units


@pytest.mark.parametrize("text", ["", "x", "1.0000000001", "inf", "nan", "1e-10", "0x1", "1 000"])
def test_what_is_no_amount_is_refused(text):
    """Anything but a decimal number of at most nine decimals is a usage error that repeats it."""
    with pytest.raises(UsageError, match="is not an amount of FML"):
        parse_fml(text)


def test_millionths():
    """Ratios and scores have six decimals and read back; nothing is a dash."""
    assert (format_millionths(941_700), format_millionths(None)) == ("0.941700", "-")
    assert parse_millionths("0.25") == 250_000
    with pytest.raises(UsageError):
        parse_millionths("0.0000001")


def test_hashes_are_short_and_known_keys_have_names():
    """A hash shows its first eight digits, a known key its name, nothing a dash."""
    assert short("ab" * 32) == "abababab…"
    assert short("ab" * 32, {"ab" * 32: "alice"}) == "alice"
    assert short(None) == "-"


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(-5, "0 s"), (999, "0 s"), (61_000, "1 min 1 s"), (3_600_000, "1 h 0 min"), (90_061_000, "1 d 1 h")],
)
def test_durations_have_two_units(milliseconds, text):
    """A span shows its two largest units."""
    assert format_duration(milliseconds) == text


def test_tables_are_aligned():
    """Columns line up, those with a mark flush right, without blanks at line ends."""
    table = Table(("NAME", ">FML", "NOTE"), [("alice", "1", ""), ("bob", "1000", "x")], "title")
    assert format_table(table).splitlines() == ["title", "NAME    FML  NOTE", "alice     1", "bob    1000  x"]
