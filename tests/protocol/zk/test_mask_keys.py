"""The seeds of masked mode: the same for both of a pair, and for nobody else."""

import itertools

import pytest

from protocol.errors import InvalidProof
from protocol.zk.mask_keys import check_mask_key, derive_seed, derive_seeds, mask_public_key
from tests.zk_round import filled

CLIENTS = [filled(f"client {index}") for index in range(4)]
SECRETS = [filled(f"mask {index}") for index in range(4)]
PUBLIC = dict(zip(CLIENTS, map(mask_public_key, SECRETS), strict=True))
CONTEXT = filled("context")
# 2^255 - 18 and the high bit, which X25519 ignores, are further spellings of 1.
WEAK = [bytes(32), b"\x01" + bytes(31), b"\xee" + b"\xff" * 30 + b"\x7f", b"\x01" + bytes(30) + b"\x80"]


def seeds_of(index: int, context: bytes = CONTEXT) -> dict[bytes, bytes]:
    """Return the seeds that a client shares with all others."""
    peers = {client: public for client, public in PUBLIC.items() if client != CLIENTS[index]}
    return derive_seeds(SECRETS[index], client=CLIENTS[index], peers=peers, context=context)


def test_both_of_a_pair_derive_the_same_seed() -> None:
    """For every pair, and no two pairs, nor two rounds, share one."""
    seeds = [seeds_of(index) for index in range(4)]
    for left, right in itertools.combinations(range(4), 2):
        assert seeds[left][CLIENTS[right]] == seeds[right][CLIENTS[left]]
    assert len({seed for one in seeds for seed in one.values()}) == 6
    assert seeds_of(0, filled("other context"))[CLIENTS[1]] != seeds[0][CLIENTS[1]]


def test_who_copies_a_key_shares_no_seed_of_its_owner() -> None:
    """Else a third client's masks with the two could be the same, once added and once taken off: no mask at all."""
    owner, copy, third = CLIENTS[:3]
    public = PUBLIC[owner]
    seeds = derive_seeds(SECRETS[2], client=third, peers={owner: public, copy: public}, context=CONTEXT)
    assert seeds[owner] != seeds[copy]
    assert seeds[owner] == seeds_of(0)[third]


@pytest.mark.parametrize("weak", WEAK, ids=bytes.hex)
def test_a_key_that_shares_no_secret_is_refused(weak: bytes) -> None:
    """Points of small order give every secret the same answer, however they are spelled."""
    with pytest.raises(InvalidProof, match="shares no secret"):
        check_mask_key(weak)
    with pytest.raises(InvalidProof, match="shares no secret"):
        derive_seed(SECRETS[0], weak, clients=(CLIENTS[0], CLIENTS[1]), context=CONTEXT)


def test_every_proper_key_is_taken() -> None:
    """Also a spelling that no implementation makes, with the bit that is ignored."""
    for public in PUBLIC.values():
        check_mask_key(public)
        check_mask_key(public[:-1] + bytes([public[-1] | 0x80]))
