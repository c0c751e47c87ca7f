"""A chain in memory that applies payloads through the ledger's own rules, fees included, without signatures.

Not here: what anybody does, which is `market`.
"""

from collections.abc import Callable, Sequence

from devnet.economy.actors import FML, Actor, seed_of
from protocol import ledger, vrf
from protocol.errors import ProtocolError
from protocol.genesis import GenesisAccount, GenesisDocument, GenesisReplica, genesis_digest, make_genesis_state
from protocol.params import DEVNET, Params
from protocol.rules import accounts, dispatch, purses
from protocol.rules.context import Context
from protocol.rules.voters import get_voters
from protocol.state import Overlay
from protocol.transactions import AnonymousPayload, Payload, SignedTransaction, Transfer

START_MS = 1_700_000_000_000
# In front of the proofs of anonymous acts, which are not made here, the log has no signatures either.
NO_SIGNATURE = bytes(64)
# Proposes all blocks, and verifies tasks.
REPLICA = Actor(name="the replica", stake=1_000 * FML)

Act = Callable[[Overlay, Context], object]


class World:
    """The state and its clock. One replica makes all blocks, so nothing ever waits for other proposers."""

    def __init__(self, actors: Sequence[Actor], *, balance: int, params: Params = DEVNET, seed: int = 0) -> None:
        self.params = params
        self.seed = seed
        beacon_key = vrf.public(REPLICA.vrf_secret(0))
        self.document = GenesisDocument(
            name="economy",
            time_ms=START_MS,
            params=params,
            governance=REPLICA.address,
            accounts=tuple(GenesisAccount(actor.name, actor.address, balance) for actor in (*actors, REPLICA)),
            replicas=(GenesisReplica(REPLICA.address, REPLICA.seed, beacon_key, REPLICA.stake),),
        )
        self.chain = genesis_digest(self.document)
        self.state = make_genesis_state(self.document)
        self.height = 0
        self.time_ms = START_MS
        self.fees: dict[bytes, int] = {}
        self.refusals: list[tuple[Actor, ProtocolError]] = []
        self._acts: list[Act] = []

    def send(self, actor: Actor, payload: Payload) -> None:
        """Queue an act of an account, which pays the least fee for it."""
        self.pay(actor)

        def act(state: Overlay, context: Context) -> None:
            error = ledger.try_payload(state, context, actor.address, payload)
            if error is not None:
                self.refusals.append((actor, error))

        self._acts.append(act)

    def pay(self, actor: Actor) -> None:
        """Queue the fee for an act."""
        fee = self.params.fee_floor_units
        self.fees[actor.address] = self.fees.get(actor.address, 0) + fee
        payload = Transfer(actor.address, 1)

        def act(state: Overlay, context: Context) -> None:
            nonce, expires = accounts.get_next_nonce(state, actor.address), context.height
            transaction = SignedTransaction(actor.address, nonce, expires, fee, payload, NO_SIGNATURE)
            accounts.pay_fee(state, context, transaction)

        self._acts.append(act)

    def send_anonymous(self, payload: AnonymousPayload) -> None:
        """Queue an anonymous act."""
        self._acts.append(lambda state, context: dispatch.apply_anonymous(state, context, payload))

    def act(self, act: Act) -> None:
        """Queue something that is done to the state itself."""
        self._acts.append(act)

    def block(self, *, after_ms: int = 100) -> None:
        """Apply what is queued, then the block's end; no unit may appear or vanish."""
        context = self.make_context(after_ms)
        state = Overlay(self.state)
        self.apply_acts(state, context)
        ledger.finish_block(state, context)
        drift = purses.compute_drift(self.state, state)
        assert drift == 0, f"block {context.height} makes {drift} units from nothing"
        self.state.apply(state.changes)
        self.height, self.time_ms = context.height, context.time_ms

    def apply_acts(self, state: Overlay, context: Context) -> None:
        """Apply what is queued."""
        for act in self._acts:
            act(state, context)
        self._acts = []

    def make_context(self, after_ms: int) -> Context:
        """Return the surroundings of the next block."""
        return Context(
            params=self.params,
            chain=self.chain,
            height=self.height + 1,
            time_ms=self.time_ms + after_ms,
            previous_time_ms=self.time_ms,
            proposer=REPLICA.address,
            proposer_key=REPLICA.seed,
            replicas=get_voters(self.state).current,
            beacon=seed_of("economy", "beacon", self.seed, self.height),
        )

    def balance_of(self, actor: Actor) -> int:
        """Return what an account can spend."""
        return purses.get_units(self.state, purses.balance_of(actor.address))

    def count_missing(self) -> int:
        """Return by how many units all purses together miss what was minted and not burned: 0."""
        supply = purses.get_supply(self.state)
        return supply.minted - supply.burned - sum(units for _, units in purses.scan_purses(self.state))
