"""The people of a simulated chain, its genesis document, and the transfers they make."""

from dataclasses import dataclass
from functools import lru_cache

import msgspec

from protocol import crypto, vrf
from protocol.codec import encode
from protocol.genesis import GenesisAccount, GenesisDocument, GenesisReplica
from protocol.params import DEVNET, Params
from protocol.transactions import Transfer, sign_transaction
from protocol.types import UNITS_PER_FML

START_MS = 1_700_000_000_000
# The first block's time is the clock's, which must be later than the genesis document's.
GENESIS_MS = START_MS - 1_000
FEE = UNITS_PER_FML // 100
# Timeouts that a few late messages are enough to exceed, so that rounds fail often and locks matter.
HASTY = msgspec.structs.replace(
    DEVNET,
    propose_timeout_ms=120,
    prevote_timeout_ms=50,
    precommit_timeout_ms=50,
    round_growth_ms=20,
    idle_block_ms=400,
)


@dataclass(frozen=True)
class Person:
    """An account that is a replica too; all its keys follow from its name."""

    name: str

    @property
    def seed(self) -> bytes:
        return crypto.hash_parts("simulation/account", self.name.encode())

    @property
    def consensus_seed(self) -> bytes:
        return crypto.hash_parts("simulation/consensus", self.name.encode())

    @property
    def beacon_secret(self) -> bytes:
        return vrf.key_from_seed(crypto.hash_parts("simulation/beacon", self.name.encode()))

    @property
    def address(self) -> bytes:
        return crypto.public_key(self.seed)

    @property
    def key(self) -> bytes:
        return crypto.public_key(self.consensus_seed)


@lru_cache
def people(size: int) -> tuple[Person, ...]:
    """Return so many people, in the order of their consensus keys, which is that of their turns."""
    return tuple(sorted((Person(f"p{index}") for index in range(size)), key=lambda person: person.key))


@lru_cache
def genesis(size: int, params: Params) -> GenesisDocument:
    """Return the document of a chain on which all of them vote with the same power."""
    return GenesisDocument(
        f"simulation of {size}",
        GENESIS_MS,
        params,
        tuple(GenesisAccount(person.name, person.address, 1_000 * UNITS_PER_FML) for person in people(size)),
        tuple(
            GenesisReplica(person.address, person.key, vrf.public(person.beacon_secret), 1_000 * UNITS_PER_FML)
            for person in people(size)
        ),
        None,
    )


def transfer(chain: bytes, sender: Person, recipient: Person, *, nonce: int, height: int) -> bytes:
    """Return a transfer that may stand in blocks of the next hundred heights."""
    payload = Transfer(recipient.address, FEE)
    expires = height + 100
    return encode(sign_transaction(chain, sender.seed, payload, nonce=nonce, expires=expires, fee=FEE))
