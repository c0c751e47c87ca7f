"""Overlays against a dictionary, and a commitment that is the same however a state came about."""

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto import merkle_leaf, merkle_root
from protocol.rules.accounts import Account
from protocol.state import BUCKETS, Commitment, MemoryState, Overlay, Table, bucket_of

KEYS = st.binary(min_size=1, max_size=3).map(lambda key: bytes(byte % 3 for byte in key))
RECORDS = st.dictionaries(KEYS, st.binary(max_size=2), max_size=8)
CHANGES = st.dictionaries(KEYS, st.none() | st.binary(max_size=2), max_size=8)
few = settings(max_examples=60, deadline=None)


def applied(records, changes):
    """Return a dictionary with changes; None deletes."""
    result = {**records, **changes}
    return {key: value for key, value in result.items() if value is not None}


def expect_same(view, model, prefix):
    assert list(view.scan(prefix)) == sorted(item for item in model.items() if item[0].startswith(prefix))
    for key in model:
        assert view.get(key) == model[key]
    assert view.get(b"absent") is None


@given(base=RECORDS, layers=st.lists(CHANGES, max_size=3), prefix=KEYS | st.just(b""))
def test_overlays_read_like_a_dictionary(base, layers, prefix):
    """However many overlays lie on a state, the topmost reads like one dictionary; the others stay as they were."""
    view, model, below = MemoryState(base), base, []
    for changes in layers:
        below.append((view, model))
        view, model = Overlay(view), applied(model, changes)
        for key, value in changes.items():
            view.put(key, value)
    expect_same(view, model, prefix)
    for lower, lower_model in below:
        expect_same(lower, lower_model, prefix)


@given(base=RECORDS, lower=CHANGES, upper=CHANGES)
def test_a_merge_moves_changes_down_and_only_them(base, lower, upper):
    """After a merge the overlay below holds both, the base nothing new."""
    state = MemoryState(base)
    below = Overlay(state)
    for key, value in lower.items():
        below.put(key, value)
    above = Overlay(below)
    for key, value in upper.items():
        above.put(key, value)
    above.merge()
    model = applied(applied(base, lower), upper)
    assert above.changes == {}
    expect_same(below, model, b"")
    expect_same(state, base, b"")
    state.apply(below.changes)
    expect_same(state, model, b"")


def test_a_scan_sees_the_changes_made_before_it_began():
    """A rule may write while it scans."""
    state = Overlay(MemoryState({b"a1": b"x", b"a3": b"x"}))
    state.put(b"a2", b"x")
    seen = []
    for key, _ in state.scan(b"a"):
        seen.append(key)
        state.put(key, None)
        state.put(b"a9", b"late")
    assert seen == [b"a1", b"a2", b"a3"]
    assert [key for key, _ in state.scan(b"a")] == [b"a9"]


@few
@given(base=RECORDS, steps=st.lists(CHANGES, min_size=1, max_size=4))
def test_a_commitment_does_not_depend_on_the_way(base, steps):
    """Updated block by block, or computed from the records at the end: the same buckets, the same root."""
    state = MemoryState(base)
    commitment = Commitment().update(MemoryState(), base)
    for changes in steps:
        commitment = commitment.update(state, changes)
        state.apply(changes)
    from_scratch = Commitment().update(MemoryState(), state.records)
    assert commitment.buckets == from_scratch.buckets
    assert commitment.root() == from_scratch.root()


@few
@given(one=RECORDS, other=RECORDS)
def test_different_states_have_different_roots(one, other):
    """A root names one state."""
    roots = [Commitment().update(MemoryState(), records).root() for records in (one, other)]
    assert (roots[0] == roots[1]) == (one == other)


def test_a_boundary_between_key_and_value_matters():
    """(ab, c) and (a, bc) are different records."""
    assert (
        Commitment().update(MemoryState(), {b"ab": b"c"}).root()
        != Commitment().update(MemoryState(), {b"a": b"bc"}).root()
    )


def test_only_buckets_with_changes_change():
    """A difference between two states can be located, and untouched buckets stay the very same objects."""
    before = Commitment().update(MemoryState(), {b"a": b"1", b"b": b"1"})
    after = before.update(MemoryState({b"a": b"1", b"b": b"1"}), {b"a": b"2", b"b": b"1"})
    changed = [index for index in range(BUCKETS) if after.buckets[index] is not before.buckets[index]]
    assert changed == [bucket_of(b"a")]


def test_the_root_of_no_state_is_known():
    """256 buckets, each the number one in 384 bytes."""
    bucket = merkle_leaf(b"\x01" + bytes(383))
    assert Commitment().root() == merkle_root([bucket] * 256)


def test_a_table_keeps_typed_records_under_its_prefix():
    """Records come back typed, keys without the prefix; other tables are not seen."""
    state, table = Overlay(MemoryState({b"Zx": b"other"})), Table(b"Q", Account)
    table.put(state, Account(2), b"a", b"2")
    table.put(state, Account(1), b"a", b"1")
    table.put(state, Account(3), b"b", b"1")
    assert table.get(state, b"a", b"1") == Account(1)
    assert list(table.scan(state, b"a")) == [(b"1", Account(1)), (b"2", Account(2))]
    table.delete(state, b"a", b"1")
    assert table.get(state, b"a", b"1") is None
    assert [key for key, _ in table.scan(state)] == [b"a2", b"b1"]
