"""Transactions that wait: what gets in, what goes out first, and that nobody can keep others out."""

import pytest

from flocknode import mempool as module
from flocknode.mempool import MAX_PER_ACCOUNT, Mempool, MempoolFull
from protocol.blocks import transaction_id
from protocol.codec import encode
from protocol.errors import (
    AlreadyDone,
    Expired,
    FeeTooLow,
    InsufficientFunds,
    InvalidProof,
    InvalidSignature,
    Malformed,
    NotFound,
    TransactionRefused,
    WrongNonce,
    WrongPhase,
)
from protocol.params import DEVNET
from protocol.rules.arena.records import Phase
from protocol.transactions import (
    AnonymousTransaction,
    OpenSubmission,
    RevealScores,
    ScoreEntry,
    Transfer,
    Verdict,
    sign_transaction,
)
from tests.arena_play import Play
from tests.ledger_driver import FML, Ledger, Person

PEOPLE = ALICE, BOB, CAROL = [Person(name) for name in ("alice", "bob", "carol")]
FEE = DEVNET.fee_floor_units


@pytest.fixture
def ledger() -> Ledger:
    made = Ledger(*PEOPLE, balance=10 * FML)
    made.block()
    return made


@pytest.fixture
def pool(ledger: Ledger) -> Mempool:
    return Mempool(ledger.before)


def signed(ledger: Ledger, person: Person, nonce: int = 0, *, units: int = 1, fee: int = FEE, ahead: int = 50) -> bytes:
    """Return a transfer to a fourth account, which expires `ahead` blocks after the head."""
    expires = ledger.before.head.height + ahead
    payload = Transfer(Person("dave").address, units)
    return encode(sign_transaction(ledger.chain, person.seed, payload, nonce=nonce, expires=expires, fee=fee))


def commit(ledger: Ledger, pool: Mempool) -> tuple[bytes, ...]:
    """Make a block of what the pool offers, and move the pool on."""
    block = ledger.make_block(transactions=pool.pick(DEVNET.max_block_bytes))
    ledger.apply(block)
    pool.advance(ledger.before, block.transactions)
    return block.transactions


# --- getting in ------------------------------------------------------------------------------------------------------


def test_a_transaction_waits_once(ledger, pool):
    """The second time it is known already, which is no fault of the sender."""
    data = signed(ledger, ALICE)
    assert not pool.has_includable()
    assert pool.add(data)
    assert not pool.add(data)
    assert len(pool) == 1
    assert transaction_id(data) in pool
    assert pool.get(transaction_id(data)).data == data
    assert pool.has_includable()
    assert pool.all_data() == [data]


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (WrongNonce, {"nonce": MAX_PER_ACCOUNT}),
        (WrongNonce, {"nonce": 2**63 - 1}),
        (FeeTooLow, {"fee": FEE - 1}),
        (InsufficientFunds, {"fee": 10 * FML + 1}),
        (Expired, {"ahead": 0}),
        (Expired, {"ahead": DEVNET.max_expiry_blocks + 2}),
    ],
)
def test_what_can_never_be_included_does_not_wait(ledger, pool, error, options):
    """Refused at once, with the reason."""
    with pytest.raises(error):
        pool.add(signed(ledger, ALICE, **options))
    assert len(pool) == 0


def test_bytes_that_are_no_transaction_are_refused(ledger, pool):
    """Malformed, of another chain, or too long for this one."""
    with pytest.raises(Malformed):
        pool.add(b"\xc0")
    foreign = Ledger(ALICE)
    with pytest.raises(InvalidSignature):
        pool.add(signed(foreign, ALICE))
    entries = tuple(
        ScoreEntry(bytes([n // 256, n % 256]) * 16, Verdict.UNFETCHABLE, 0, None, None) for n in range(2_200)
    )
    long = sign_transaction(
        ledger.chain, ALICE.seed, RevealScores(1, 0, bytes(32), entries), nonce=0, expires=9, fee=FEE
    )
    with pytest.raises(TransactionRefused, match="too long"):
        pool.add(encode(long))


def test_a_nonce_waits_once(ledger, pool):
    """Another transaction with the same nonce is refused until the first one is gone."""
    pool.add(signed(ledger, ALICE))
    with pytest.raises(WrongNonce, match="waiting"):
        pool.add(signed(ledger, ALICE, units=2))
    assert pool.next_nonce(ALICE.address) == 1
    pool.add(signed(ledger, ALICE, 2))
    assert pool.next_nonce(ALICE.address) == 1
    pool.add(signed(ledger, ALICE, 1))
    assert pool.next_nonce(ALICE.address) == 3


# --- going out -------------------------------------------------------------------------------------------------------


def test_accounts_take_turns_in_nonce_order(ledger, pool):
    """Everybody's first comes before anybody's second, and nothing comes before its predecessor."""
    sent = {(person, nonce): signed(ledger, person, nonce) for person in PEOPLE for nonce in (1, 0)}
    del sent[(CAROL, 0)]
    for data in sent.values():
        pool.add(data)
    first, second = sorted((ALICE, BOB), key=lambda person: person.address)
    order = [(first, 0), (second, 0), (first, 1), (second, 1)]
    assert pool.pick(DEVNET.max_block_bytes) == [sent[key] for key in order]
    assert commit(ledger, pool) == tuple(sent[key] for key in order)
    assert len(pool) == 1
    assert not pool.has_includable()


def test_only_what_fits_is_picked(ledger, pool):
    """A small room takes what it can."""
    for person in PEOPLE:
        pool.add(signed(ledger, person))
    size = len(signed(ledger, ALICE))
    assert len(pool.pick(2 * size)) == 2
    assert pool.pick(size - 1) == []


def test_what_no_longer_can_be_included_is_dropped_with_its_reason(ledger, pool):
    """Expired, overtaken by another transaction of its nonce, or unable to pay: the sender gets an honest answer."""
    old, overtaken, broke = signed(ledger, ALICE, 1, ahead=1), signed(ledger, BOB), signed(ledger, CAROL, 1, fee=FML)
    for data in (old, overtaken, broke):
        pool.add(data)
    ledger.pending = [signed(ledger, BOB, units=2), signed(ledger, CAROL, units=9 * FML + FML // 2)]
    block = ledger.make_block()
    ledger.apply(block)
    pool.advance(ledger.before, block.transactions)
    reasons = [type(pool.refusals[transaction_id(data)]) for data in (old, overtaken, broke)]
    assert reasons == [Expired, WrongNonce, InsufficientFunds]
    assert len(pool) == 0


def test_a_pool_never_offers_a_block_that_stays_empty(ledger, pool):
    """Two fees of which only one can be paid: the second goes as soon as the first is included."""
    pool.add(signed(ledger, ALICE, 0, fee=9 * FML))
    pool.add(signed(ledger, ALICE, 1, fee=9 * FML))
    assert len(commit(ledger, pool)) == 1
    assert not pool.has_includable()
    assert len(pool) == 0


def test_a_refusal_is_forgotten_when_the_transaction_waits_again(ledger, pool, monkeypatch):
    """What was turned away for want of room may come back; then its sender waits, instead of hearing the old answer."""
    monkeypatch.setattr(module, "MAX_TRANSACTIONS", 2)
    first = [signed(ledger, ALICE, nonce) for nonce in range(2)]
    for data in first:
        pool.add(data)
    pool.add(signed(ledger, BOB))
    assert isinstance(pool.refusals[transaction_id(first[1])], MempoolFull)
    commit(ledger, pool)
    assert pool.add(first[1])
    assert transaction_id(first[1]) not in pool.refusals


# --- a full pool -----------------------------------------------------------------------------------------------------


def test_nobody_keeps_others_out_with_transactions_that_never_pay(ledger, pool, monkeypatch):
    """A flood behind a missing nonce makes room, from its end, for whoever has less waiting."""
    monkeypatch.setattr(module, "MAX_TRANSACTIONS", 20)
    flood = [signed(ledger, ALICE, nonce) for nonce in range(1, 21)]
    for data in flood:
        pool.add(data)
    honest = [signed(ledger, BOB, nonce) for nonce in range(3)]
    for data in honest:
        assert pool.add(data)
    assert len(pool) == 20
    assert pool.pick(DEVNET.max_block_bytes) == honest
    assert [transaction_id(data) in pool for data in flood] == [True] * 17 + [False] * 3
    assert isinstance(pool.refusals[transaction_id(flood[-1])], MempoolFull)


def test_who_has_most_waiting_gets_no_more_room(ledger, pool, monkeypatch):
    """The longest queue itself is refused, and so is one that would become as long."""
    monkeypatch.setattr(module, "MAX_TRANSACTIONS", 4)
    for nonce in range(2):
        pool.add(signed(ledger, ALICE, nonce))
        pool.add(signed(ledger, BOB, nonce))
    for person in (ALICE, BOB):
        with pytest.raises(MempoolFull):
            pool.add(signed(ledger, person, 2))
    assert pool.add(signed(ledger, CAROL))
    with pytest.raises(MempoolFull):
        pool.add(signed(ledger, CAROL, 1))


def test_bytes_are_bounded_too(ledger, pool, monkeypatch):
    """As many large transactions as the memory allows, with the same fairness."""
    size = len(signed(ledger, ALICE))
    monkeypatch.setattr(module, "MAX_BYTES", 3 * size)
    for nonce in range(3):
        pool.add(signed(ledger, ALICE, nonce))
    assert pool.add(signed(ledger, BOB))
    assert len(pool) == 3
    with pytest.raises(MempoolFull):
        pool.add(signed(ledger, ALICE, 2))


# --- anonymous transactions ------------------------------------------------------------------------------------------


def submissions(play: Play) -> list[bytes]:
    for person in play.trainers:
        play.ledger.submit(person, play.task, play.epoch)
    data, play.ledger.pending = list(play.ledger.pending), []
    return data


def test_a_submission_waits_in_a_lane_of_its_pseudonym():
    """One per pseudonym, before the accounts' transactions; what no state would take is refused."""
    play = Play().begin()
    pool = Mempool(play.ledger.before)
    first, second, _ = submissions(play)
    pool.add(signed(play.ledger, play.stranger))
    assert pool.add(first)
    assert not pool.add(first)
    payload = AnonymousTransaction(OpenSubmission(play.task, 0, play.tag(play.trainers[0]), bytes(32)))
    with pytest.raises(WrongPhase):
        pool.add(encode(payload))
    with pytest.raises(NotFound):
        pool.add(encode(AnonymousTransaction(OpenSubmission(9, 0, bytes(32), bytes(32)))))
    with pytest.raises(InvalidProof):
        pool.add(second[:-1] + bytes([second[-1] ^ 1]))
    assert pool.pick(DEVNET.max_block_bytes)[0] == first
    assert pool.has_includable()


def test_a_second_submission_of_a_pseudonym_is_refused_before_its_proof_is_checked():
    """While one waits, others under its tag cost nothing to refuse, whatever their proofs are."""
    play = Play().begin()
    pool = Mempool(play.ledger.before)
    first = submissions(play)[0]
    pool.add(first)
    with pytest.raises(AlreadyDone):
        pool.add(first[:-1] + bytes([first[-1] ^ 1]))


def test_anonymous_transactions_go_with_their_phase():
    """Included ones leave, and those that were too late leave with the reason."""
    play = Play().begin()
    pool = Mempool(play.ledger.before)
    first, second, third = submissions(play)
    for data in (first, second, third):
        pool.add(data)
    block = play.ledger.make_block(transactions=[first, second])
    play.ledger.apply(block)
    pool.advance(play.ledger.before, block.transactions)
    assert pool.all_data() == [third]
    play.wait(Phase.OPEN)
    pool.advance(play.ledger.before, ())
    assert len(pool) == 0
    assert isinstance(pool.refusals[transaction_id(third)], WrongPhase)


def test_a_flood_of_accounts_leaves_submissions_their_room(monkeypatch):
    """Submissions pay nothing, and still get in: the longest queue makes way for them."""
    monkeypatch.setattr(module, "MAX_TRANSACTIONS", 10)
    play = Play().begin()
    pool = Mempool(play.ledger.before)
    for nonce in range(10):
        pool.add(signed(play.ledger, play.stranger, nonce))
    for data in submissions(play):
        assert pool.add(data)
    assert len(pool) == 10
