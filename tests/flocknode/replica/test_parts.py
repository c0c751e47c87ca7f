"""The parts of the replica alone: signer, timers, intake, presence."""

import pytest
import trio

from flocknode.network import Verdict
from flocknode.replica.intake import MAX_WAITING_PROPOSALS, Proposed, Woken, is_timely
from flocknode.replica.replica import MAX_DEFERRED, keep_some
from flocknode.replica.signer import Signer
from flocknode.replica.timers import Timers, timeout_ms
from flocknode.replica.wire import Author, BlockProposal, SummaryTold, VoteCast, sign_summary
from protocol.blocks import block_id
from protocol.codec import encode
from protocol.crypto import public_key
from protocol.params import DEVNET
from protocol.tendermint.events import ScheduleTimeout, SignProposal, SignVote, TimeoutExpired, TimeoutKind
from protocol.tendermint.messages import VoteKind, sign_proposal, sign_vote, verify_message

CHAIN, SEED, V, W = b"c" * 32, b"s" * 32, b"v" * 32, b"w" * 32


def vote(kind: VoteKind = VoteKind.PREVOTE, height: int = 5, round: int = 1, block_id: bytes | None = V) -> SignVote:
    return SignVote(kind, height, round, block_id)


def test_the_signer_repeats_what_it_signed() -> None:
    """The same request gives the same bytes, also after a restart."""
    signer = Signer(CHAIN, SEED, None)
    first = signer.sign(vote())
    verify_message(CHAIN, first)
    assert signer.sign(vote()) == first
    assert Signer(CHAIN, SEED, first).sign(vote()) == first


@pytest.mark.parametrize(
    "effect",
    [
        vote(block_id=W),
        vote(block_id=None),
        vote(round=0),
        vote(height=4, round=9),
        SignProposal(5, 1, None, V),
    ],
)
def test_the_signer_refuses_contradictions_and_regressions(effect) -> None:
    """Another value at the same position, or anything before it."""
    signer = Signer(CHAIN, SEED, Signer(CHAIN, SEED, None).sign(vote()))
    assert signer.sign(effect) is None


@pytest.mark.parametrize(
    "effect", [vote(VoteKind.PRECOMMIT), vote(round=2), vote(height=6, round=0), SignProposal(5, 2, 1, V)]
)
def test_the_signer_goes_on(effect) -> None:
    """Whatever comes later is signed."""
    signer = Signer(CHAIN, SEED, None)
    signer.sign(vote())
    assert signer.sign(effect) is not None


def test_a_newer_vote_known_to_peers_silences_the_signer_for_that_height() -> None:
    """A restored backup; a vote that is remembered, or older than the memory, does not."""
    signer = Signer(CHAIN, SEED, None)
    known = signer.sign(vote())
    signer.learn_newest(known)
    signer.learn_newest(sign_vote(CHAIN, SEED, kind=VoteKind.PREVOTE, height=4, round=7, block_id=W))
    assert signer.silent_through == 0
    signer.learn_newest(sign_vote(CHAIN, SEED, kind=VoteKind.PREVOTE, height=5, round=1, block_id=W))
    assert signer.silent_through == 5, "somebody else signed with this key, or this memory is not the newest"
    signer.learn_newest(sign_vote(CHAIN, SEED, kind=VoteKind.PREVOTE, height=7, round=0, block_id=W))
    assert signer.sign(vote(height=7, round=3)) is None
    assert signer.sign(vote(height=8, round=0)) is not None


def test_timeouts_grow_by_round_and_a_later_round_replaces_an_earlier_one() -> None:
    """timeoutX(round), one of each kind."""
    assert timeout_ms(DEVNET, TimeoutKind.PROPOSE, 0) == DEVNET.propose_timeout_ms
    assert timeout_ms(DEVNET, TimeoutKind.PREVOTE, 4) == DEVNET.prevote_timeout_ms + 4 * DEVNET.round_growth_ms
    timers = Timers(DEVNET)
    timers.schedule(ScheduleTimeout(TimeoutKind.PREVOTE, 1, 0), 10.0)
    timers.schedule(ScheduleTimeout(TimeoutKind.PREVOTE, 1, 1), 10.0)
    timers.schedule(ScheduleTimeout(TimeoutKind.PROPOSE, 1, 1), 10.0)
    assert timers.take_expired(10.1) == []
    assert timers.take_expired(timers.next_deadline()) == [TimeoutExpired(TimeoutKind.PREVOTE, 1, 1)]
    assert timers.take_expired(99.0) == [TimeoutExpired(TimeoutKind.PROPOSE, 1, 1)]
    assert timers.next_deadline() == float("inf")


def test_a_fresh_block_is_timely_within_precision_and_delay() -> None:
    """The future is bounded by the precision, the past by the delay too; the delay grows with the round."""
    now = 10**12
    past = DEVNET.clock_precision_ms + DEVNET.message_delay_ms
    for offset, round, expected in (
        (DEVNET.clock_precision_ms, 0, True),
        (DEVNET.clock_precision_ms + 1, 9, False),
        (-past, 0, True),
        (-past - 1, 0, False),
        (-past - 1, 1, True),
    ):
        assert is_timely(DEVNET, block_time_ms=now + offset, round=round, now_ms=now) is expected


async def test_what_peers_send_is_judged(open_world, autojump_clock) -> None:
    """Rejected is what no honest laggard sends; ignored what depends on where this replica stands."""
    async with open_world() as world:
        await world.nodes[0].start()
        # Before it has a peer a replica takes nothing in.
        await world.add_follower().start()
        replica, seeds = world.nodes[0].replica, [node.keys.seed for node in world.nodes[:4]]
        chain = world.nodes[0].chain
        prevote = sign_vote(chain.id, seeds[1], kind=VoteKind.PREVOTE, height=1, round=0, block_id=None)
        forged = sign_vote(b"other chain".ljust(32), seeds[1], kind=VoteKind.PREVOTE, height=1, round=0, block_id=None)
        stranger = sign_vote(chain.id, SEED, kind=VoteKind.PREVOTE, height=1, round=0, block_id=None)
        far = sign_vote(chain.id, seeds[1], kind=VoteKind.PREVOTE, height=9, round=0, block_id=None)
        block = chain.build_block(
            transactions=[b"tx"], commit=None, time_ms=world.nodes[0].wall_clock(), round=1,
            proposer=world.keys[1], beacon_secret=b"", randomness=b"",
        )  # fmt: skip
        other = encode(type(block)(block.header, None, (b"another body",)))
        fields = {"height": 1, "round": 1, "valid_round": None, "block_id": block_id(block.header)}
        proposal = sign_proposal(chain.id, seeds[1], **fields)
        wrong_turn = sign_proposal(chain.id, seeds[2], **fields)
        summary = replica._engine.core.summary()
        signed = sign_summary(chain.id, seeds[1], summary)
        usurped = SummaryTold(summary, Author(public_key(SEED), signed.author.signature))
        expected = [
            (b"\xc1", Verdict.REJECT),
            (encode(VoteCast(forged)), Verdict.REJECT),
            (encode(BlockProposal(proposal, other)), Verdict.REJECT),
            (encode(BlockProposal(proposal, b"no block")), Verdict.REJECT),
            (encode(usurped), Verdict.REJECT),
            (encode(VoteCast(stranger)), Verdict.IGNORE),
            (encode(VoteCast(far)), Verdict.IGNORE),
            (encode(BlockProposal(wrong_turn, encode(block))), Verdict.IGNORE),
            (encode(signed), Verdict.IGNORE),
            (encode(BlockProposal(proposal, encode(block))), Verdict.ACCEPT),
            (encode(VoteCast(prevote)), Verdict.ACCEPT),
        ]
        verdicts = [(payload, await replica.handle("n1", payload)) for payload, _ in expected]
        assert verdicts == expected
        await trio.sleep(2)
        # Known by now.
        assert await replica.handle("n1", encode(VoteCast(prevote))) is Verdict.IGNORE


def test_a_starting_replica_keeps_no_more_than_may_wait() -> None:
    """Of a flood the first are kept for later; of proposals, which carry blocks, only a few."""
    proposed = [Proposed(index, None) for index in range(MAX_WAITING_PROPOSALS + 5)]
    assert keep_some([*proposed, Woken()]) == [*proposed[:MAX_WAITING_PROPOSALS], Woken()]
    assert len(keep_some([Woken()] * (MAX_DEFERRED + 5))) == MAX_DEFERRED
