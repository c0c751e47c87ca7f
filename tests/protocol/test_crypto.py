"""Hashes, signatures, sealed keys, Merkle trees and the multiset hash: known answers, and what must be refused."""

import json
from hashlib import sha256
from pathlib import Path

import gmpy2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import crypto
from protocol.errors import InvalidProof, InvalidSignature

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "merkle.json").read_text())
LEAVES = [crypto.merkle_leaf(bytes.fromhex(data)) for data in VECTORS["leaves"]]
SEED, OTHER = bytes([1] * 32), bytes([2] * 32)
# The order of the Ed25519 group.
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493

few = settings(max_examples=40, deadline=None)


# --- parts and signatures --------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=5), max_size=4), st.lists(st.binary(max_size=5), max_size=4))
def test_different_parts_never_join_to_the_same_bytes(parts, others):
    """The length of each part stands before it, so that no boundary can move."""
    assert (crypto.join_parts("a", parts) == crypto.join_parts("a", others)) == (parts == others)


def test_a_domain_is_a_part_of_what_is_hashed():
    """The same parts under another domain hash to something else, and a domain does not run into the first part."""
    assert crypto.hash_parts("flock/a", b"x") != crypto.hash_parts("flock/b", b"x")
    assert crypto.hash_parts("flock/a", b"x") != crypto.hash_parts("flock/", b"ax")
    assert crypto.hash_parts("ab", b"c") == sha256(b"\0\0\0\x02ab\0\0\0\x01c").digest()


def test_a_public_key_is_that_of_rfc_8032():
    """Section 7.1, test 1."""
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    assert crypto.public_key(seed).hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


def test_a_signature_holds_for_its_key_domain_and_parts_only():
    """Whatever is changed, the signature no longer matches."""
    signature, key = crypto.sign(SEED, "flock/a", b"ab", b"c"), crypto.public_key(SEED)
    crypto.verify(key, signature, "flock/a", b"ab", b"c")
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    for wrong in (
        (crypto.public_key(OTHER), signature, "flock/a", b"ab", b"c"),
        (key, flipped, "flock/a", b"ab", b"c"),
        (key, signature, "flock/b", b"ab", b"c"),
        (key, signature, "flock/a", b"a", b"bc"),
        (key, signature, "flock/a", b"ab"),
        (key, signature[:63], "flock/a", b"ab", b"c"),
        (key[:31], signature, "flock/a", b"ab", b"c"),
        (bytes(32), bytes(64), "flock/a", b"ab", b"c"),
        (b"\x01" + bytes(31), bytes(64), "flock/a", b"ab", b"c"),
    ):
        with pytest.raises(InvalidSignature):
            crypto.verify(*wrong)


def test_a_signature_has_one_spelling():
    """Adding the group's order to the scalar of a signature gives no second valid signature of the same message."""
    signature, key = crypto.sign(SEED, "flock/a", b"x"), crypto.public_key(SEED)
    scalar = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    with pytest.raises(InvalidSignature):
        crypto.verify(key, signature[:32] + scalar.to_bytes(32, "little"), "flock/a", b"x")


# --- sealed keys -----------------------------------------------------------------------------------------------------


@few
@given(key=st.binary(min_size=32, max_size=32), seed=st.binary(min_size=32, max_size=32))
def test_a_sealed_key_opens_for_its_recipient_only(key, seed):
    """The recipient gets the key back, another account nothing, and sealing again gives the same box."""
    box = crypto.seal_key(key, crypto.public_key(seed))
    assert len(box) == crypto.SEALED_KEY_BYTES
    assert crypto.open_sealed_key(box, seed) == key
    assert crypto.seal_key(key, crypto.public_key(seed)) == box
    with pytest.raises(InvalidProof):
        crypto.open_sealed_key(box, crypto.hash_parts("another", seed))


@few
@given(at=st.integers(0, crypto.SEALED_KEY_BYTES - 1), flip=st.integers(1, 255))
def test_an_altered_box_does_not_open(at, flip):
    """Any changed byte, of the ephemeral key or of the box, is found."""
    box = bytearray(crypto.seal_key(b"k" * 32, crypto.public_key(SEED)))
    box[at] ^= flip
    # The top bit of a Curve25519 key is ignored by the multiplication, but not by the nonce.
    with pytest.raises(InvalidProof):
        crypto.open_sealed_key(bytes(box), SEED)


@few
@given(st.binary(max_size=120))
def test_garbage_is_no_sealed_key(box):
    """Boxes of any length and content are refused, never a crash."""
    with pytest.raises(InvalidProof):
        crypto.open_sealed_key(box, SEED)


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31), b"\xff" * 32, b"", b"x" * 31, b"x" * 33])
def test_what_is_no_curve_point_is_no_account(key):
    """Identity, small order, non-canonical bytes and other lengths: nothing can be sealed to them."""
    assert not crypto.is_account_key(key)


def test_a_public_key_is_an_account():
    """What keys are made of can be sealed to."""
    assert crypto.is_account_key(crypto.public_key(SEED))


# --- Merkle trees ----------------------------------------------------------------------------------------------------


def test_merkle_roots_are_those_of_rfc_6962():
    """One to eight leaves, and none."""
    assert crypto.merkle_root([]).hex() == VECTORS["empty_root"]
    for count, root in enumerate(VECTORS["roots"], 1):
        assert crypto.merkle_root(LEAVES[:count]).hex() == root


@pytest.mark.parametrize("vector", VECTORS["paths"], ids=lambda vector: f"{vector['index']} of {vector['size']}")
def test_merkle_paths_are_those_of_rfc_6962(vector):
    """Audit paths, lowest sibling first, lead to the root."""
    index, size, path = vector["index"], vector["size"], [bytes.fromhex(node) for node in vector["path"]]
    assert list(crypto.merkle_path(crypto.merkle_levels(LEAVES[:size]), index)) == path
    crypto.verify_merkle_path(LEAVES[index], index, size, path, bytes.fromhex(VECTORS["roots"][size - 1]))


def defined_root(leaves):
    """Return the root as section 2.1 defines it: split at the largest power of two below the size."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + defined_root(leaves[:half]) + defined_root(leaves[half:])).digest()


def test_merkle_root_is_the_recursive_definition():
    """All sizes up to 70, though we build level by level."""
    leaves = [crypto.merkle_leaf(bytes([number])) for number in range(70)]
    for size in range(1, 71):
        assert crypto.merkle_root(leaves[:size]) == defined_root(leaves[:size])


@given(size=st.integers(1, 40), data=st.data())
def test_a_merkle_path_proves_one_leaf_at_one_place(size, data):
    """The right path holds; another leaf, index, size, sibling or length does not."""
    leaves = [crypto.merkle_leaf(bytes([number])) for number in range(size)]
    index, root = data.draw(st.integers(0, size - 1)), crypto.merkle_root(leaves)
    path = crypto.merkle_path(crypto.merkle_levels(leaves), index)
    crypto.verify_merkle_path(leaves[index], index, size, path, root)
    wrong = [(crypto.merkle_leaf(b"other"), index, size, path), (leaves[index], size, size, path)]
    wrong += [(leaves[index], -1, size, path), (leaves[index], index, size, (*path, bytes(32)))]
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        wrong += [(leaves[index], index, size, path[:-1])]
        wrong += [(leaves[index], index, size, (*path[:at], bytes(32), *path[at + 1 :]))]
        wrong += [(leaves[index], index ^ 1, size, path)]
    for case in wrong:
        with pytest.raises(InvalidProof):
            crypto.verify_merkle_path(*case, root)


def test_a_node_is_no_leaf():
    """Leaves and nodes hash differently, so that an inner node cannot be shown as data (a second preimage)."""
    left, right = crypto.merkle_leaf(b"a"), crypto.merkle_leaf(b"b")
    assert crypto.merkle_leaf(left + right) != crypto.merkle_root([left, right])


# --- the multiset hash -----------------------------------------------------------------------------------------------

MEMBERS = st.lists(st.binary(max_size=6), max_size=6)
EMPTY = gmpy2.mpz(1)


@few
@given(members=MEMBERS, data=st.data())
def test_the_order_of_members_does_not_matter(members, data):
    """Any permutation, in one update or several, gives the same hash."""
    shuffled, cut = data.draw(st.permutations(members)), data.draw(st.integers(0, len(members)))
    whole = crypto.multiset_update(EMPTY, members, [])
    assert crypto.multiset_update(crypto.multiset_update(EMPTY, shuffled[:cut], []), shuffled[cut:], []) == whole


@few
@given(kept=MEMBERS, removed=MEMBERS)
def test_what_joined_and_left_leaves_no_trace(kept, removed):
    """Adding and removing gives the hash without them, in whatever order it happens."""
    alone = crypto.multiset_update(EMPTY, kept, [])
    both = crypto.multiset_update(EMPTY, [*kept, *removed], [])
    assert crypto.multiset_update(both, [], removed) == alone
    assert crypto.multiset_update(EMPTY, [*kept, *removed], removed) == alone


def test_a_multiset_counts():
    """Two of a kind are not one, nor none; and a hash always has 384 bytes."""
    hashes = [crypto.multiset_bytes(crypto.multiset_update(EMPTY, [b"a"] * count, [])) for count in range(4)]
    assert len(set(hashes)) == 4
    assert {len(value) for value in hashes} == {crypto.MULTISET_BYTES}


def test_a_wide_integer_holds_what_64_bits_do_not():
    """Sums over epochs come back, and sort like numbers."""
    assert int.from_bytes(crypto.wide_bytes(2**100 + 1), "big") == 2**100 + 1
    assert crypto.wide_bytes(255) < crypto.wide_bytes(256)
    assert crypto.integer_bytes(255) < crypto.integer_bytes(256)
