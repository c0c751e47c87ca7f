"""Anti-entropy: what a summary says, and what it calls for."""

from protocol.codec import decode, encode
from protocol.tendermint import events
from protocol.tendermint.messages import Proposal, Vote
from protocol.tendermint.summary import MAX_SUMMARY_ROUNDS, RoundSummary


def exchange(cast, holder, asker) -> int:
    """Give the asker everything it misses of what the holder has; return how many messages that took."""
    count = 0
    while missing := holder.get_missing(decode(encode(asker.summary()), RoundSummary)):
        count += len(missing)
        for message in missing:
            is_vote = isinstance(message, Vote)
            asker.step(events.VoteReceived(message) if is_vote else events.ProposalReceived(message, True))
        assert count < 100, "an exchange that does not end"
    return count


def test_a_peer_gets_what_it_misses_and_then_nothing(cast) -> None:
    """Proposal and votes of the round; the second summary calls for nothing."""
    holder, asker = cast.core(None), cast.core(None)
    cast.feed(holder, cast.proposal(0, "v"), cast.valid("v"), cast.prevote(0, 0, "v"), cast.precommit(1, 0, None))
    cast.feed(asker, cast.prevote(0, 0, "v"))
    assert exchange(cast, holder, asker) == 2
    assert holder.get_missing(asker.summary()) == []
    assert asker.get_missing(holder.summary()) == []


def test_the_polka_of_a_valid_round_comes_along(cast) -> None:
    """A repeated proposal of round 20 with a polka in round 1: the late peer can judge it."""
    holder, asker = cast.core(None), cast.core(3)
    cast.feed(holder, cast.proposal(1, "v"), cast.valid("v"), *(cast.prevote(who, 1, "v") for who in (0, 1, 2)))
    cast.feed(holder, *(cast.prevote(who, 20, None) for who in (0, 1)), cast.proposal(20, "v", valid_round=1))
    cast.feed(asker, *(cast.prevote(who, 20, None) for who in (0, 1)))
    exchange(cast, holder, asker)
    assert cast.prevoted(20, "v") in cast.feed(asker, cast.valid("v"))


def test_a_quorum_hidden_by_an_equivocator_is_sent_whole(cast) -> None:
    """The peer heard all four but counts one of them for another block, and so sees no polka."""
    holder, asker = cast.core(None), cast.core(None)
    for who, told_holder, told_asker in ((0, "v", "w"), (1, "v", "v"), (2, "v", "v"), (3, None, None)):
        cast.feed(holder, cast.prevote(who, 0, told_holder))
        cast.feed(asker, cast.prevote(who, 0, told_asker))
    exchange(cast, holder, asker)
    assert asker.summary().rounds[0].prevotes.has_quorum


def test_a_decision_of_an_old_round_is_found(cast) -> None:
    """Precommits of round 0 and their block reach a peer that stands in round 30 and had let go of the block."""
    holder, asker = cast.core(None), cast.core(None)
    cast.feed(holder, cast.proposal(0, "v"), cast.valid("v"), *(cast.prevote(who, 0, "v") for who in (1, 2, 3)))
    for core in (holder, asker):
        cast.feed(core, cast.proposal(0, "v"), *(cast.prevote(who, 30, None) for who in (0, 1)))
    assert not asker.holds(cast.proposal(0, "v").proposal)
    # Nobody has all precommits: the last is the asker's own find.
    cast.feed(holder, *(cast.precommit(who, 0, "v") for who in (1, 2)))
    cast.feed(asker, cast.precommit(3, 0, "v"))
    exchange(cast, holder, asker)
    assert asker.last_commit is not None


def test_a_peer_one_height_behind_gets_the_commit(cast) -> None:
    """The precommits of the height that was just decided."""
    ahead, behind = cast.core(None), cast.core(None)
    cast.feed(behind, cast.proposal(0, "v"))
    cast.feed(ahead, events.CommitReceived(cast.commit(0, "v", (0, 1, 2))))
    cast.feed(ahead, events.HeightAdvanced(2, cast.replicas, cast.priorities))
    exchange(cast, ahead, behind)
    assert behind.last_commit == ahead.last_commit
    assert behind.get_missing(ahead.summary()) == []


def test_the_wanted_proposal_is_the_one_with_the_quorum(cast) -> None:
    """An equivocating proposer told the peer of another block: it is not content with that one."""
    holder, asker = cast.core(None), cast.core(None)
    polka = [cast.prevote(who, 0, "v") for who in (0, 1, 2)]
    cast.feed(holder, cast.proposal(0, "v"), *polka)
    cast.feed(asker, cast.proposal(0, "w"), *polka)
    missing = holder.get_missing(asker.summary())
    assert [type(message) for message in missing] == [Proposal]


def test_a_summary_is_bounded(cast) -> None:
    """After many rounds only those that matter are told of."""
    core = cast.core(None)
    cast.feed(core, *(cast.prevote(who, 5000, None) for who in (0, 1)))
    assert core.state.round == 5000
    assert len(core.summary().rounds) <= MAX_SUMMARY_ROUNDS


def test_summaries_of_other_heights_call_for_nothing(cast) -> None:
    """Far behind or ahead is for catch-up."""
    core = cast.core(None)
    cast.feed(core, cast.prevote(0, 0, "v"))
    for height in (0, 2, 99):
        assert core.get_missing(RoundSummary(height, 0, 0, ())) == []
