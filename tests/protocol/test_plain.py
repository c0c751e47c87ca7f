"""Records as JSON for people: they come back, and what does not fit is refused with its path."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from protocol.errors import Malformed
from protocol.genesis import GenesisAccount, GenesisDocument
from protocol.params import DEVNET
from protocol.plain import from_plain, to_plain
from protocol.rules.arena.records import Submission, Task
from protocol.rules.arena.results import EpochResult
from tests.record_strategies import any_of

DOCUMENT = GenesisDocument("test", 1, DEVNET, (GenesisAccount("alice", bytes(32), 5),), (), None)
ODD_VALUES = st.sampled_from(
    [
        None,
        True,
        -1,
        2**63,
        2**70,
        1.5,
        float("inf"),
        float("nan"),
        "",
        "zz",
        "\ud800",
        "é" * 99,
        [],
        {},
        [[]],
        {"a": 1},
    ]
)


@pytest.mark.parametrize("kind", [GenesisDocument, Task, Submission, EpochResult])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_record_comes_back_through_json(kind, data):
    """Written as JSON text and read again, a record is the same."""
    record = data.draw(any_of(kind))
    assert from_plain(kind, json.loads(json.dumps(to_plain(record)))) == record


def test_bytes_are_hexadecimal_and_choices_have_names():
    """What people read: no base64, no numbers for choices."""
    plain = to_plain(DOCUMENT)
    assert plain["accounts"][0]["address"] == "00" * 32
    assert plain["params"]["task"]["aggregation"] == "mean"


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_an_odd_value_anywhere_is_refused(data):
    """Any value of JSON in any place of a document is refused or fits; it never crashes the reader."""
    plain = to_plain(DOCUMENT)
    place = plain
    while isinstance(place, dict) and data.draw(st.booleans(), label="deeper"):
        inner = [name for name, value in place.items() if isinstance(value, dict | list) and value]
        if not inner:
            break
        name = data.draw(st.sampled_from(inner))
        place = place[name][0] if isinstance(place[name], list) else place[name]
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(ODD_VALUES)
    try:
        document = from_plain(GenesisDocument, plain)
    except Malformed:
        return
    assert from_plain(GenesisDocument, to_plain(document)) == document


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"name": 5}, r"\$"),
        ({"accounts": {}}, r"\$\.accounts: expected a list"),
        ({"accounts": [5]}, r"\$\.accounts\[0\]: expected an object"),
        ({"accounts": [{"name": "a", "balance": 1}]}, r"\$\.accounts\[0\]\.address: missing field"),
        ({"accounts": [{"name": "a", "address": "xyz", "balance": 1}]}, r"\$\.accounts\[0\]\.address: .*hexadecimal"),
        ({"colour": 1}, r"\$\.colour: unknown field"),
    ],
)
def test_a_refusal_names_the_path(change, path):
    """So that a typing error in a genesis file is found."""
    with pytest.raises(Malformed, match=path):
        from_plain(GenesisDocument, {**to_plain(DOCUMENT), **change})


def test_a_choice_is_refused_with_the_names_there_are():
    """A wrong name is answered with the right ones."""
    plain = to_plain(DOCUMENT)
    plain["params"]["task"]["aggregation"] = "mode"
    with pytest.raises(Malformed, match="aggregation: expected one of mean, median"):
        from_plain(GenesisDocument, plain)


def test_a_number_out_of_range_is_refused():
    """The ranges of the types hold for JSON too."""
    plain = to_plain(replace(DOCUMENT, time_ms=5))
    plain["time_ms"] = 2**63
    with pytest.raises(Malformed):
        from_plain(GenesisDocument, plain)
