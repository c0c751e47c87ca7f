"""The genesis document: who starts with what, who votes first, under which parameters; and the state it means.

Its digest is the chain's identity, signed with every vote and every transaction.
"""

from protocol.blocks import MAX_BLOCK_TIME_MS, Head, receipts_root
from protocol.codec import encode
from protocol.crypto import hash_parts, is_account_key
from protocol.errors import InvalidGenesis
from protocol.formulas.emission import total_emission
from protocol.params import Params, check_params
from protocol.ristretto import is_element
from protocol.rules import purses
from protocol.rules.emission import begin_emission
from protocol.rules.standing import GOVERNANCE, Governance
from protocol.rules.voters import Voters, put_voters
from protocol.state import Commitment, MemoryState, Overlay
from protocol.tendermint.proposer import initial_priorities
from protocol.tendermint.replicas import Replica, make_replica_set
from protocol.types import MAX_INTEGER, Address, Amount, Bytes32, Name, Record, TimeMs

# The rotation of proposers counts up to a few times the total power, so that must fit into its numbers with room left
# (CometBFT has the same bound).
MAX_TOTAL_POWER = MAX_INTEGER // 8


class GenesisAccount(Record):
    """An account with its first balance. The name is for people; nothing depends on it."""

    name: Name
    address: Address
    balance: Amount


class GenesisReplica(Record):
    """A first voter: its keys, and the bond that is its voting power. The bond comes on top of the balance."""

    account: Address
    key: Bytes32
    vrf_key: Bytes32
    bond: Amount


class GenesisDocument(Record):
    """Everything that all nodes of a chain must agree on before the first block.

    `governance` is the account that verifies tasks and recognises creators; without one nobody does.
    """

    name: Name
    time_ms: TimeMs
    params: Params
    accounts: tuple[GenesisAccount, ...]
    replicas: tuple[GenesisReplica, ...]
    governance: Address | None


def genesis_digest(document: GenesisDocument) -> bytes:
    """Return the chain's 32-byte identity."""
    return hash_parts("flock/genesis", encode(document))


def check_genesis(document: GenesisDocument) -> None:
    """Return if the document makes a chain that can run; raise `InvalidGenesis` otherwise."""
    check_params(document.params)
    check_amounts(document)
    addresses = [account.address for account in document.accounts]
    if len(set(addresses)) != len(addresses):
        raise InvalidGenesis("an account stands twice")
    if not all(map(is_account_key, addresses)):
        raise InvalidGenesis("an address is not an Ed25519 public key")
    if document.governance is not None and document.governance not in addresses:
        raise InvalidGenesis("the governance account is none that the document lists")
    if not document.replicas:
        raise InvalidGenesis("no replica: nobody could make a block")
    for keys in ([replica.key for replica in document.replicas], [replica.account for replica in document.replicas]):
        if len(set(keys)) != len(keys):
            raise InvalidGenesis("a replica stands twice")
    for replica in document.replicas:
        if replica.account not in addresses:
            raise InvalidGenesis("a replica belongs to an account that the document does not list")
        if not is_element(replica.vrf_key):
            raise InvalidGenesis("a replica's VRF key is no group element: it could never propose")
        if replica.bond < document.params.min_stake_replica_units:
            raise InvalidGenesis("a replica's bond is below the minimum stake")


def check_amounts(document: GenesisDocument) -> None:
    """Return if all sums of money, power and time stay within the numbers of records; raise `InvalidGenesis`."""
    bonds = sum(replica.bond for replica in document.replicas)
    if bonds > MAX_TOTAL_POWER:
        raise InvalidGenesis(f"the bonds add up to {bonds} units, at most {MAX_TOTAL_POWER} are allowed")
    supply = bonds + sum(account.balance for account in document.accounts)
    if supply > MAX_INTEGER:
        raise InvalidGenesis(f"the supply is {supply} units, at most {MAX_INTEGER} are allowed")
    emitted = total_emission(
        initial_units=document.params.emission_units, halving_periods=document.params.halving_periods
    )
    if supply + emitted > MAX_INTEGER:
        raise InvalidGenesis(f"supply and emission together may reach {supply + emitted} units, at most {MAX_INTEGER}")
    if document.time_ms >= MAX_BLOCK_TIME_MS:
        raise InvalidGenesis(f"the chain begins at {document.time_ms} ms, later than any block may be")


def make_genesis_state(document: GenesisDocument) -> MemoryState:
    """Return the state that the first block builds on."""
    check_genesis(document)
    state = Overlay(MemoryState())
    for account in document.accounts:
        if account.balance:
            purses.mint(state, purses.balance_of(account.address), account.balance)
    for replica in document.replicas:
        purses.mint(state, purses.replica_bond_of(replica.account), replica.bond)
    if document.governance is not None:
        GOVERNANCE.put(state, Governance(document.governance))
    begin_emission(state, document.params, document.time_ms)
    replicas = make_replica_set(
        [Replica(replica.key, replica.vrf_key, replica.bond, replica.account) for replica in document.replicas]
    )
    put_voters(
        state,
        Voters(
            previous=replicas,
            current=replicas,
            following=replicas,
            priorities=initial_priorities(replicas),
            beacon=genesis_digest(document),
        ),
    )
    result = MemoryState()
    result.apply(state.changes)
    return result


def genesis_head(document: GenesisDocument, commitment: Commitment) -> Head:
    """Return the head that the first block continues; its block id is the chain's digest."""
    return Head(
        height=0,
        block_id=genesis_digest(document),
        time_ms=document.time_ms,
        state_root=commitment.root(),
        receipts_root=receipts_root(()),
    )
