"""What a flooder sends, kind by kind: frames made of chance and of what it heard. Pure; `flooder` sends them."""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from flocknode.inbox import encode_transactions
from flocknode.network.links import clock_us
from flocknode.network.messages import ID_BYTES, MAX_IDS, Push, Status, Topic, join_ids
from flocknode.network.streams import frame
from protocol import crypto, vrf
from protocol.blobs import BlobId
from protocol.codec import decode, encode
from protocol.ring_proof import prove_ring, ring_digest
from protocol.ristretto import ELEMENT_BYTES
from protocol.transactions import (
    AnonymousTransaction,
    Join,
    Role,
    SignedTransaction,
    Submit,
    Transaction,
    Transfer,
    sign_transaction,
)

# Pushes of honest peers that are kept to be sent again, and how many of them go out at once.
MAX_HEARD = 1024
REPEATED_AT_ONCE = 64
# Transactions in one message, and how far their nonces run ahead: four times what an account may have waiting.
TRANSACTIONS_AT_ONCE = 64
NONCES_AHEAD = 1024
PROOFS_AT_ONCE = 8
# Bad proofs are made for each of these epochs; but for the current one, they are only out of date.
EPOCHS = 2
FEE_UNITS = 1_000_000
EXPIRES_IN = 50
GARBAGE_BYTES = 4096


@dataclass
class Heard:
    """What the attacker knows: pushes it heard, the ring of the newest task, and its own account's place in the log."""

    chain: bytes
    account_seed: bytes
    pushes: deque[Push] = field(default_factory=lambda: deque(maxlen=MAX_HEARD))
    task: int = 0
    ring: set[bytes] = field(default_factory=set)
    nonce: int = 0
    height: int = 0
    ahead: int = 0

    def hear(self, push: Push) -> None:
        """Keep a push, and the keys of trainers that join."""
        self.pushes.append(push)
        if push.topic is Topic.TRANSACTIONS:
            for data in decode(push.payload, tuple[bytes, ...]):
                self._note_join(decode(data, Transaction))  # type: ignore[arg-type]

    def _note_join(self, transaction: Transaction) -> None:
        match transaction:
            case SignedTransaction(payload=Join(task=task, role=Role.TRAINER, vrf_key=key)) if task >= self.task:
                if task > self.task:
                    self.task = task
                    self.ring.clear()
                self.ring.add(key)


Make = Callable[[Heard, random.Random], list[bytes]]


@dataclass(frozen=True)
class Flood:
    """One kind of flood: how its next frames are made, and the pause between two writes, in seconds."""

    make: Make
    pause_s: float


def make_garbage(_: Heard, rng: random.Random) -> list[bytes]:
    """Return a frame that holds no message."""
    return [GARBAGE_BYTES.to_bytes(4, "big") + rng.randbytes(GARBAGE_BYTES)]


def make_duplicates(heard: Heard, rng: random.Random) -> list[bytes]:
    """Return valid messages of others that everybody has seen."""
    chosen = rng.sample(list(heard.pushes), min(len(heard.pushes), REPEATED_AT_ONCE))
    return [frame(push) for push in chosen]


def make_transactions(heard: Heard, rng: random.Random) -> list[bytes]:
    """Return a message of properly signed and funded transfers, of which the account may have but a quarter waiting."""
    transactions = []
    for _ in range(TRANSACTIONS_AT_ONCE):
        heard.ahead = (heard.ahead + 1) % NONCES_AHEAD
        transactions.append(
            sign_transaction(
                heard.chain,
                heard.account_seed,
                Transfer(crypto.public_key(heard.account_seed), 1 + rng.randrange(1000)),
                nonce=heard.nonce + heard.ahead,
                expires=heard.height + EXPIRES_IN,
                fee=FEE_UNITS,
            )
        )
    return [frame(Push(Topic.TRANSACTIONS, encode_transactions(tuple(map(encode, transactions)))))]


def make_bad_proofs(heard: Heard, rng: random.Random) -> list[bytes]:
    """Return submissions to the newest task under made-up tags, with proofs that fail only when they are verified."""
    if not heard.ring:
        return []
    return [
        frame(Push(Topic.TRANSACTIONS, encode_transactions((encode(make_submission(heard, rng, number % EPOCHS)),))))
        for number in range(PROOFS_AT_ONCE)
    ]


def make_submission(heard: Heard, rng: random.Random, epoch: int) -> AnonymousTransaction:
    """Return a submission whose proof has the right form, and is one for a ring with a stranger in it."""
    secret = vrf.key_from_seed(rng.randbytes(32))
    ring = (vrf.public(secret), *sorted(heard.ring)[1:])
    proof = prove_ring(secret, ring=ring, alpha=b"", ad=b"", randomness=rng.randbytes(32))
    return AnonymousTransaction(
        Submit(
            task=heard.task,
            epoch=epoch,
            ring=ring_digest(heard.ring),
            tag=proof[:ELEMENT_BYTES],
            blob=BlobId(rng.randbytes(32), 10_000),
            key_commitment=rng.randbytes(32),
            proof=proof,
        )
    )


def make_ids(_: Heard, rng: random.Random) -> list[bytes]:
    """Return a heartbeat that announces as many messages as it may, none of which there is."""
    ids = join_ids(rng.randbytes(ID_BYTES) for _ in range(MAX_IDS))
    return [frame(Status(b"", (), ids, clock_us(), None))]


FLOODS = {
    "garbage": Flood(make_garbage, 0.05),
    "duplicates": Flood(make_duplicates, 0.0),
    "transactions": Flood(make_transactions, 0.05),
    "bad proofs": Flood(make_bad_proofs, 0.2),
    "empty ids": Flood(make_ids, 0.25),
}
