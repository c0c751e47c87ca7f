"""Thresholds and what is kept of votes."""

from protocol.tendermint.messages import Vote, VoteKind
from protocol.tendermint.replicas import Replica, make_replica_set
from protocol.tendermint.votes import HeightVotes, RoundVotes

KEYS = [bytes([index]) * 32 for index in range(7)]
A, B, C, D = (letter * 32 for letter in (b"a", b"b", b"c", b"d"))


def prevote(who: int, block_id: bytes | None, round: int = 0) -> Vote:
    return Vote(VoteKind.PREVOTE, 1, round, block_id, KEYS[who], b"\0" * 64)


def height_votes(powers: tuple[int, ...]) -> HeightVotes:
    return HeightVotes(
        make_replica_set([Replica(key, key, power, key) for key, power in zip(KEYS, powers, strict=False)])
    )


def test_a_quorum_is_more_than_two_thirds_of_the_power() -> None:
    """Exactly 2/3 is no quorum; a unit more is."""
    votes = height_votes((3, 3, 2, 1))
    votes.add(prevote(0, A))
    votes.add(prevote(1, A))
    assert votes.get(VoteKind.PREVOTE, 0).quorum_block() is None
    votes.add(prevote(3, A))
    assert votes.get(VoteKind.PREVOTE, 0).quorum_block() == A


def test_votes_for_different_values_reach_only_the_quorum_of_any() -> None:
    """A round without agreement: any quorum, no value's."""
    votes = height_votes((1, 1, 1, 1))
    for who, block_id in enumerate((A, B, None)):
        votes.add(prevote(who, block_id))
    reached = votes.get(VoteKind.PREVOTE, 0)
    assert reached.has_any_quorum()
    assert not reached.has_value_quorum()


def test_an_equivocator_counts_once_in_the_total_and_once_per_value() -> None:
    """Two votes of one replica make no quorum of any; each stands in its own tally; the conflict is told once."""
    votes = height_votes((1, 1, 1, 1))
    votes.add(prevote(0, A))
    first = prevote(1, A)
    assert votes.add(first) is None
    assert votes.add(prevote(1, B)) == first
    assert votes.add(prevote(1, C)) is None
    reached = votes.get(VoteKind.PREVOTE, 0)
    assert not reached.has_any_quorum()
    votes.add(prevote(2, B))
    votes.add(prevote(3, B))
    assert reached.quorum_block() == B


def test_a_flood_of_conflicting_votes_is_bounded_but_a_quorums_vote_gets_through() -> None:
    """Of 100 values an equivocator keeps two, and then the one that more than 1/3 voted for first."""
    votes = RoundVotes(dict.fromkeys(KEYS[:4], 1))
    for index in range(100):
        votes.add(prevote(3, index.to_bytes(32, "big")))
    votes.add(prevote(0, A))
    votes.add(prevote(3, A))
    assert len(list(votes.all_votes())) == 3
    votes.add(prevote(1, A))
    votes.add(prevote(3, A))
    assert votes.quorum_block() == A


def test_the_same_vote_twice_counts_once() -> None:
    """Gossip duplicates."""
    votes = height_votes((1, 1, 1, 1))
    for _ in range(5):
        votes.add(prevote(0, A))
    assert not votes.get(VoteKind.PREVOTE, 0).has_any_quorum()


def test_strangers_do_not_count() -> None:
    """A key outside the set has no vote."""
    votes = height_votes((1,))
    votes.add(prevote(5, A))
    assert not votes.get(VoteKind.PREVOTE, 0).has_any_quorum()


def test_round_skip_needs_more_than_a_third_of_the_power() -> None:
    """Exactly 1/3 may all be faulty."""
    votes = height_votes((1, 1, 1))
    votes.add(prevote(0, A, 5))
    assert votes.skip_round() is None
    votes.add(prevote(1, A, 5))
    assert votes.skip_round() == 5


def test_round_skip_counts_those_who_are_further_ahead() -> None:
    """Two replicas in different later rounds: the lower of the two is safe to join."""
    votes = height_votes((1, 1, 1, 1))
    votes.add(prevote(0, A, 3))
    votes.add(prevote(1, None, 8))
    assert votes.skip_round() == 3


def test_of_later_rounds_a_replicas_highest_is_kept() -> None:
    """A replica that signs ever higher rounds costs one slot; rounds up to the current one are all kept."""
    votes = height_votes((1, 1, 1, 1))
    for round in range(1, 500):
        votes.add(prevote(0, A, round))
    assert [round for round in range(500) if votes.get(VoteKind.PREVOTE, round).voters()] == [499]
    assert len(votes._rounds) == 1
    votes.add(prevote(0, A, 7))
    assert not votes.get(VoteKind.PREVOTE, 7).voters()
    votes.enter_round(10)
    votes.add(prevote(0, A, 7))
    assert votes.get(VoteKind.PREVOTE, 7).voters() == {KEYS[0]}


def test_who_goes_on_to_a_later_round_takes_only_its_own_votes_along() -> None:
    """Both of its votes of a later round are kept together; what others voted where it was stays."""
    votes = height_votes((1, 1, 1, 1))
    precommit = Vote(VoteKind.PRECOMMIT, 1, 5, A, KEYS[0], b"\0" * 64)
    for vote in (prevote(0, A, 5), precommit, prevote(1, A, 5)):
        votes.add(vote)
    assert votes.all_votes() == [prevote(0, A, 5), prevote(1, A, 5), precommit]
    votes.add(prevote(0, A, 6))
    assert votes.all_votes() == [prevote(1, A, 5), prevote(0, A, 6)]


def test_forgotten_votes_support_no_value_any_more() -> None:
    """A third vote of an equivocator needs more than 1/3 who voted so first; who is forgotten is none of them."""
    for is_forgotten in (False, True):
        votes = RoundVotes(dict.fromkeys(KEYS[:4], 1))
        for vote in (prevote(0, A), prevote(1, A)):
            votes.add(vote)
        if is_forgotten:
            votes.forget(KEYS[0])
        for block_id in (B, C, A):
            votes.add(prevote(3, block_id))
        assert votes.holds(prevote(3, A)) is not is_forgotten


def test_a_quorum_for_nil_is_an_agreement_too() -> None:
    """Anti-entropy asks whether the votes agree, on whatever."""
    votes = RoundVotes(dict.fromkeys(KEYS[:4], 1))
    for who in range(3):
        assert not votes.has_value_quorum()
        votes.add(prevote(who, None))
    assert votes.has_value_quorum()
