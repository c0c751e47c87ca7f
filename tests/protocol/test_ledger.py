"""Blocks on the real ledger: what makes one invalid, and what a failing transaction costs."""

import pytest
from msgspec.structs import replace

from protocol import ledger as rules
from protocol import vrf
from protocol.blocks import MAX_BLOCK_TIME_MS, Block, Header, commit_digest
from protocol.codec import decode, encode
from protocol.errors import InvalidBlock
from protocol.ledger import MAX_ROUND, apply_block, is_block_due, seal_block
from protocol.params import DEVNET
from protocol.rules import purses
from protocol.rules.accounts import get_next_nonce
from protocol.rules.arena.records import Phase
from protocol.rules.voters import get_voters
from protocol.tendermint.messages import Commit, CommitSignature, VoteKind, sign_vote
from protocol.transactions import (
    Attest,
    CreateTask,
    OpenSubmission,
    RevealScores,
    ScoreEntry,
    SignedTransaction,
    Transfer,
    Verdict,
    open_transaction,
    sign_transaction,
)
from tests.arena_play import Play
from tests.ledger_driver import FML, Ledger, Person

PEOPLE = ALICE, BOB, CAROL, DAVE = [Person(name) for name in ("alice", "bob", "carol", "dave")]


@pytest.fixture
def ledger() -> Ledger:
    """A log of three blocks, a transfer in each."""
    made = Ledger(*PEOPLE)
    for _ in range(3):
        made.transfer(ALICE, BOB, FML)
        made.block()
    return made


def with_header(block: Block, **changes) -> Block:
    return Block(replace(block.header, **changes), block.previous_commit, block.transactions)


def with_commit(block: Block, commit: Commit | None) -> Block:
    return Block(replace(block.header, previous_commit=commit_digest(commit)), commit, block.transactions)


def refuse(ledger: Ledger, block: Block, match: str | None = None) -> None:
    """Assert that a block is invalid, and that looking at it has changed nothing."""
    before = dict(ledger.state.records)
    with pytest.raises(InvalidBlock, match=match):
        apply_block(ledger.before, block)
    assert ledger.state.records == before


# --- the header ------------------------------------------------------------------------------------------------------


def altered_headers(ledger: Ledger, header: Header) -> dict[str, list]:
    """Return wrong values for every field of a header."""
    other_proposer = next(r.key for r in replica_set(ledger) if r.key != header.proposer)
    return {
        "chain": [bytes(32)],
        "height": [header.height - 1, header.height + 1, 2**63 - 1],
        "time_ms": [ledger.before.head.time_ms, 0, MAX_BLOCK_TIME_MS + 1, 2**63 - 1],
        "round": [header.round + 1, MAX_ROUND + 1, 2**31 - 1],
        "proposer": [other_proposer, bytes(32)],
        "previous_block": [bytes(32)],
        "previous_commit": [bytes(32)],
        "transactions_root": [bytes(32)],
        "state_root": [bytes(32)],
        "receipts_root": [bytes(32)],
        "replicas": [bytes(32)],
        "next_replicas": [bytes(32)],
        "beacon_proof": [b"", header.beacon_proof[:-1], bytes(96), header.beacon_proof[:32] + bytes(64)],
    }


def replica_set(ledger: Ledger):
    return get_voters(ledger.state).current.replicas


@pytest.mark.parametrize("field", Header.__struct_fields__)
def test_every_field_of_a_header_counts(ledger, field):
    """Whatever is altered in the header of a valid block, no honest replica votes for it."""
    ledger.transfer(ALICE, BOB, 1)
    block = ledger.make_block()
    apply_block(ledger.before, block)
    for value in altered_headers(ledger, block.header)[field]:
        refuse(ledger, with_header(block, **{field: value}))


def test_a_block_is_for_one_place_in_the_log(ledger):
    """Neither the same block again, nor the next one before it, nor one of another chain."""
    block = ledger.make_block()
    refuse(ledger, ledger.blocks[-1], "height")
    ledger.apply(block)
    refuse(ledger, block, "height")
    refuse(ledger, Ledger(*PEOPLE[:3]).make_block(), "chain")


def test_only_whose_turn_it_is_proposes(ledger):
    """A valid block of one round is invalid when it claims another round, or is another replica's."""
    first, second = ledger.make_block(round=0), ledger.make_block(round=1)
    assert first.header.proposer != second.header.proposer
    refuse(ledger, with_header(first, round=1), "another replica proposes")
    refuse(ledger, with_header(second, round=0), "another replica proposes")
    refuse(ledger, with_header(first, proposer=second.header.proposer), "another replica proposes")


def test_the_beacon_is_the_proposers_for_this_height(ledger):
    """A proof by another key, for another height, or bound to something, is refused."""
    block = ledger.make_block()
    other = ledger.make_block(round=1)
    refuse(ledger, with_header(block, beacon_proof=other.header.beacon_proof), "beacon")
    refuse(ledger, with_header(block, beacon_proof=ledger.blocks[-1].header.beacon_proof), "beacon")
    proposer = next(p for p in PEOPLE if vrf.public(p.beacon_secret) == vrf_key_of(ledger, block.header.proposer))
    proof = vrf.prove(proposer.beacon_secret, alpha=b"another input", ad=b"", randomness=bytes(32))
    refuse(ledger, with_header(block, beacon_proof=proof), "beacon")


def vrf_key_of(ledger: Ledger, key: bytes) -> bytes:
    return next(r.vrf_key for r in replica_set(ledger) if r.key == key)


@pytest.mark.parametrize("phase", [Phase.OPENING, Phase.SUBMIT, Phase.OPEN, Phase.SCORE, Phase.CLAIM])
def test_no_time_that_a_proposer_stamps_breaks_the_ledger(phase):
    """With a task in any phase, the latest possible time is fine and a later one makes a block invalid; no crash."""
    play = Play()
    match phase:
        case Phase.SUBMIT:
            play.begin()
        case Phase.OPEN:
            # Two proposers were heard: the next block brings the draw, and with it a new deadline.
            play.begin().submit()
            play.block_by(play.creator)
            play.block_by(play.stranger)
        case Phase.SCORE:
            play.begin().submit().open()
        case Phase.CLAIM:
            play.begin().submit().open().commit().reveal()
    assert play.phase is phase
    block = play.ledger.make_block()
    for time_ms in (2**63 - 1, 2**62, MAX_BLOCK_TIME_MS + 1):
        refuse(play.ledger, with_header(block, time_ms=time_ms), "later than any block")
    play.ledger.apply(with_header(block, time_ms=MAX_BLOCK_TIME_MS))
    assert play.record.id == play.task


# --- the previous commit ---------------------------------------------------------------------------------------------


def test_a_block_carries_the_commit_of_the_one_before(ledger):
    """Missing, of another block, short of signatures, forged, of strangers or out of order: refused."""
    block, commit = ledger.make_block(), ledger.commit
    signatures = commit.signatures
    stranger = Person("mallory")
    vote = sign_vote(
        ledger.chain,
        stranger.consensus_seed,
        kind=VoteKind.PRECOMMIT,
        height=commit.height,
        round=commit.round,
        block_id=commit.block_id,
    )
    strange = CommitSignature(vote.replica, vote.signature)
    cases = {
        "does not carry": [
            None,
            replace(commit, height=commit.height - 1),
            replace(commit, block_id=bytes(32)),
            ledger.sign_commit(ledger.blocks[0]),
        ],
        "voting power": [replace(commit, signatures=signatures[:2]), replace(commit, signatures=())],
        "wrong signature": [
            replace(commit, round=1),
            replace(commit, signatures=(replace(signatures[0], signature=bytes(64)), *signatures[1:])),
            replace(commit, signatures=(replace(signatures[0], signature=signatures[1].signature), *signatures[1:])),
        ],
        "sorted": [
            replace(commit, signatures=signatures[::-1]),
            replace(commit, signatures=(signatures[0], *signatures)),
        ],
        "stranger": [replace(commit, signatures=tuple(sorted((*signatures, strange), key=lambda s: s.replica)))],
    }
    for match, commits in cases.items():
        for wrong in commits:
            refuse(ledger, with_commit(block, wrong), match)
    apply_block(ledger.before, with_commit(block, replace(commit, signatures=signatures[1:])))


def test_the_prevotes_of_a_block_are_no_commit(ledger):
    """Signatures of the other kind of vote do not count."""
    votes = [
        sign_vote(
            ledger.chain,
            p.consensus_seed,
            kind=VoteKind.PREVOTE,
            height=ledger.commit.height,
            round=ledger.commit.round,
            block_id=ledger.commit.block_id,
        )
        for p in PEOPLE
    ]
    signatures = tuple(sorted((CommitSignature(v.replica, v.signature) for v in votes), key=lambda s: s.replica))
    refuse(ledger, with_commit(ledger.make_block(), replace(ledger.commit, signatures=signatures)), "wrong signature")


def test_the_first_block_has_no_commit_before_it(ledger):
    """There is nothing that one could have signed."""
    fresh = Ledger(*PEOPLE)
    refuse(fresh, with_commit(fresh.make_block(), ledger.commit), "first block")


# --- transactions ----------------------------------------------------------------------------------------------------


def with_transactions(ledger: Ledger, *transactions: bytes) -> Block:
    block = ledger.make_block(transactions=[])
    return seal_block(block.header, block.previous_commit, transactions)


def signed(ledger: Ledger, person: Person, payload, *, nonce: int | None = None, chain: bytes | None = None) -> bytes:
    nonce = get_next_nonce(ledger.state, person.address) if nonce is None else nonce
    transaction = sign_transaction(
        chain or ledger.chain,
        person.seed,
        payload,
        nonce=nonce,
        expires=ledger.before.head.height + 9,
        fee=FML // 1_000,
    )
    return encode(transaction)


def test_a_body_is_the_one_that_the_header_names(ledger):
    """Neither more, nor fewer, nor other transactions, nor in another order."""
    data = [signed(ledger, BOB, Transfer(CAROL.address, 1)), signed(ledger, CAROL, Transfer(BOB.address, 1))]
    block = with_transactions(ledger, *data)
    for transactions in ((), (data[0],), (data[1], data[0]), (*data, data[0])):
        refuse(ledger, Block(block.header, block.previous_commit, transactions), "other transactions")


def test_a_failing_payload_pays_and_changes_nothing_else(ledger):
    """The receipt has number and reason; the account is down by the fee and one nonce; later transactions apply."""
    failing = signed(ledger, BOB, Attest(7))
    ledger.apply(with_transactions(ledger))
    before = dict(ledger.state.records)
    (first, second) = ledger.apply(
        with_transactions(ledger, failing, signed(ledger, BOB, Transfer(CAROL.address, 5), nonce=1))
    )
    assert (first.error, first.message) == (35, "there is no task 7")
    assert (second.error, second.message) == (0, "")
    changed = {
        key[:1] for key in before.keys() | ledger.state.records if before.get(key) != ledger.state.records.get(key)
    }
    # Purses, the supply, the account and the voters: no trace of a task.
    assert changed == {b"P", b"Y", b"A", b"V"}
    assert get_next_nonce(ledger.state, BOB.address) == 2


def test_a_payload_that_fails_half_way_is_undone(ledger):
    """A task that can pay for its stake but not for its escrow leaves neither stake, nor fee, nor number."""
    play = Play()
    spec = play.record.spec
    (receipt,) = ledger.apply(with_transactions(ledger, signed(ledger, BOB, CreateTask(spec, 100 * FML, 10_000 * FML))))
    assert receipt.error == 34
    assert {name[:1] for name, _ in purses.scan_purses(ledger.state)} == {b"b", b"k"}


@pytest.mark.parametrize(
    "make",
    [
        lambda ledger: b"",
        lambda ledger: b"\xc0",
        lambda ledger: signed(ledger, BOB, Transfer(CAROL.address, 1))[:-1],
        lambda ledger: signed(ledger, BOB, Transfer(CAROL.address, 1), chain=bytes(32)),
        lambda ledger: signed(ledger, BOB, Transfer(CAROL.address, 0)),
        lambda ledger: encode(
            replace(
                decode(signed(ledger, BOB, Transfer(CAROL.address, 1)), SignedTransaction), sender=ALICE.address
            )
        ),
    ],
    ids=["nothing", "nil", "cut off", "another chain", "no units", "another sender"],
)  # fmt: skip
def test_what_is_no_transaction_makes_a_block_invalid(ledger, make):
    """Such bytes have no payer, so an honest proposer never includes them."""
    refuse(ledger, with_transactions(ledger, make(ledger)), "may not stand")


def test_an_anonymous_transaction_that_fails_makes_a_block_invalid():
    """It pays nothing, so it stands in a block only if it applies; twice it does not."""
    play = Play().begin().submit()
    play.ledger.open(play.trainers[0], play.task, 0)
    (data,) = play.ledger.pending
    refuse(play.ledger, with_transactions(play.ledger, data, data), "may not stand")
    wrong = OpenSubmission(play.task, 0, play.tag(play.trainers[0]), bytes(32))
    play.ledger.send_anonymous(wrong)
    refuse(play.ledger, with_transactions(play.ledger, play.ledger.pending[1]), "may not stand")
    play.ledger.apply(with_transactions(play.ledger, data))


def test_a_block_has_so_many_bytes_and_proofs():
    """One byte or one costly proof more makes it invalid; a proposer leaves out what does not fit."""
    # Rings have three members, which cost as much as four, 760 us.
    params = replace(DEVNET, max_block_bytes=80 * 1024, max_transaction_bytes=72 * 1024, max_block_proof_us=2_000)
    play = Play(params=params).begin()
    for person in play.trainers:
        play.ledger.submit(person, play.task, 0)
    submits = list(play.ledger.pending)
    refuse(play.ledger, with_transactions(play.ledger, *submits), "would cost 2280 us to verify, 2000 at most")
    assert len(play.ledger.make_block().transactions) == 2
    nonce = get_next_nonce(play.ledger.state, play.stranger.address)
    many = [signed(play.ledger, play.stranger, Transfer(play.creator.address, 1), nonce=nonce + i) for i in range(600)]
    assert sum(map(len, many)) > params.max_block_bytes
    refuse(play.ledger, with_transactions(play.ledger, *many), "more than 81920 bytes")
    play.ledger.pending = many
    block = play.ledger.make_block()
    assert params.max_block_bytes - len(many[0]) < sum(map(len, block.transactions)) <= params.max_block_bytes
    play.ledger.apply(block)


def test_a_transaction_has_so_many_bytes(ledger):
    """The chain's own bound holds, below that of the decoder."""
    entries = tuple(
        ScoreEntry(bytes([n // 256, n % 256]) * 16, Verdict.UNFETCHABLE, 0, None, None) for n in range(2_200)
    )
    data = signed(ledger, BOB, RevealScores(1, 0, bytes(32), entries))
    assert len(data) > DEVNET.max_transaction_bytes
    open_transaction(ledger.chain, data)
    refuse(ledger, with_transactions(ledger, data), "bytes")
    assert ledger.make_block(transactions=[data]).transactions == ()


def test_a_proposer_leaves_out_what_may_not_stand_there(ledger):
    """Bad ones are skipped, good ones kept in their order, and the block is valid."""
    good = [signed(ledger, BOB, Transfer(CAROL.address, 1)), signed(ledger, BOB, Transfer(CAROL.address, 1), nonce=1)]
    bad = [
        b"",
        signed(ledger, CAROL, Transfer(BOB.address, 1), nonce=4),
        good[0],
        signed(ledger, DAVE, Attest(1), chain=bytes(32)),
    ]
    block = ledger.make_block(transactions=[bad[0], good[0], *bad[1:], good[1]])
    assert block.transactions == tuple(good)
    assert [receipt.error for receipt in ledger.apply(block)] == [0, 0]


def test_a_proposer_charges_nobody_for_what_it_leaves_out(ledger):
    """A fee of which only the burned half is there takes nothing: what the account can pay is still included."""
    balance = purses.get_units(ledger.state, purses.balance_of(CAROL.address))
    data = [
        encode(sign_transaction(ledger.chain, CAROL.seed, Transfer(BOB.address, 1), nonce=0, expires=9, fee=fee))
        for fee in (balance + 1, balance - 1)
    ]
    block = ledger.make_block(transactions=data)
    assert block.transactions == (data[1],)
    assert ledger.apply(block)[0].error == 0


def test_money_from_nothing_stops_the_node(ledger, monkeypatch):
    """Should a rule ever mint, the drift is found in the same block, whoever proposed it."""

    def generous(state, context):
        purses._put(state, purses.TREASURY, 1)

    monkeypatch.setattr(rules.task_phases, "end_block", generous)
    with pytest.raises(AssertionError, match="makes 1 units from nothing"):
        apply_block(ledger.before, ledger.make_block())


# --- blocks that are due ---------------------------------------------------------------------------------------------


def test_a_block_is_due_for_a_draw_and_for_a_deadline():
    """Otherwise nothing would happen without transactions, and an empty block may wait."""
    play = Play()
    now_ms = play.ledger.before.head.time_ms
    assert not is_block_due(play.ledger.state, now_ms)
    assert is_block_due(play.ledger.state, play.record.deadline_ms)
    assert not is_block_due(play.ledger.state, play.record.deadline_ms - 1)
    play.begin().submit()
    assert is_block_due(play.ledger.state, 0)
    play.draw()
    assert not is_block_due(play.ledger.state, play.ledger.before.head.time_ms)
    play.open().commit().reveal().claim().run_epoch()
    assert not is_block_due(play.ledger.state, MAX_BLOCK_TIME_MS)
