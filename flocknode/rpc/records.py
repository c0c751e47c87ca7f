"""What every RPC method answers with, and what subscriptions carry: the shapes that clients can rely on.

Results are JSON objects with field names in snake case. Hashes, keys, addresses, ids and tags are lower-case hex text;
amounts are integers of base units (`_units`, 1 FML = 10^9), times are milliseconds since the Unix epoch (`_ms`), ratios
are integers of 10^-6 (`_millionths`). A field that does not apply is null, never left out. No behaviour lives here.
"""

from typing import Annotated, Any, Literal, dataclass_transform

from msgspec import Meta, Struct

MAX_LIST = 1000
MAX_TAIL = 1000

# 32 bytes in hex: an account's address, a consensus key, a block or transaction id, a root, a tag.
Hex32 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
# Any bytes in hex.
Hex = Annotated[str, Meta(pattern="^([0-9a-f]{2})*$")]
Units = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Millionths = Annotated[int, Meta(ge=0)]
# A part of a whole, in millionths.
Ratio = Annotated[int, Meta(ge=0, le=1_000_000)]
# The absolute path of a file on the machine of the daemon.
FilePath = Annotated[str, Meta(pattern="^/", max_length=4096)]
Level = Literal["debug", "info", "warning", "error"]
Topic = Literal["blocks", "rounds", "tasks", "logs", "peers", "work"]
PeerChange = Literal["joined", "left"]
FileWork = Literal["sealing", "opening", "splitting", "verifying", "rebuilding"]
PrivateWork = Literal["committing", "proving", "consulting", "adding", "unmasking"]
WorkKind = Literal["training", "evaluating", "fetching", "catching up"] | FileWork | PrivateWork
WorkState = Literal["running", "done", "failed"]


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Result(Struct, frozen=True, kw_only=True):
    """Base of every RPC record: immutable, fields by name."""


# --- node ------------------------------------------------------------------------------------------------------------


class NodeStatus(Result):
    """How this node is doing; `cause` says why it is, or is not, making progress, and what its tasks wait for.

    `is_locked`: the account's key is under a passphrase that nobody gave yet, so the node signs nothing for it.
    `relaying`: how this account's submissions leave, or what they wait for, and what the node relayed for others.
    """

    name: str
    version: str
    pid: Count
    home: str
    started_ms: Count
    chain: Hex32
    peer: str
    address: str
    account: Hex32 | None
    is_locked: bool
    consensus_key: Hex32 | None
    is_replica: bool
    is_catching_up: bool
    height: Count
    block: Hex32
    state_root: Hex32
    time_ms: Count
    round: Count
    peers: Count
    pending_transactions: Count
    worker: str
    relaying: str
    cause: str


class Peer(Result):
    """Another node this one is connected to, and what went to and fro since it joined.

    `consensus_key` is of the replica that vouches for it, `dropped` counts messages that found no room, `latency_us` is
    the last round trip of a heartbeat, and `score` falls from 100 with the peer's faults.
    """

    peer: str
    address: str
    is_outbound: bool
    consensus_key: Hex32 | None
    height: Count | None
    connected_ms: Count
    messages_sent: Count
    messages_received: Count
    bytes_sent: Count
    bytes_received: Count
    duplicates: Count
    dropped: Count
    latency_us: Count | None
    score: Count


class RefusedPeer(Result):
    """A peer that misbehaved too much to be talked to, why, and for how many more seconds."""

    peer: str
    reason: str
    seconds: Count


class PeerList(Result):
    """The peers connected now, and those that are refused."""

    peers: tuple[Peer, ...]
    refused: tuple[RefusedPeer, ...]


class Stopping(Result):
    """The daemon has begun to stop."""

    pid: Count


class Unlocked(Result):
    """The account's key is open until the daemon stops."""

    account: Hex32


class Locked(Result):
    """The account's key is not in the daemon's memory any more: nothing is signed for the account."""

    account: Hex32


# --- accounts and transactions ---------------------------------------------------------------------------------------


class Delegation(Result):
    """Stake that an account put behind a trainer or validator of a task, as shares of that operator's vault.

    `leaving_shares` leave when the running epoch has settled; `waiting_units` come in when the next one begins.
    """

    task: Count
    name: str
    operator: Hex32
    shares: Count
    leaving_shares: Count
    worth_units: Units
    waiting_units: Units


class Account(Result):
    """What an account owns: spendable, bonded as a replica, staked in tasks and alliances, and on its way back.

    What it delegates is worth `delegated_units`, that which waits for an epoch to begin included. `has_record`: it was
    paid in a verified task or alliance; that, or being recognised by governance, lets it create tasks without a stake.
    """

    address: Hex32
    nonce: Count
    balance_units: Units
    bonded_units: Units
    staked_units: Units
    delegated_units: Units
    unbonding_units: Units
    has_record: bool
    is_recognised: bool
    delegations: tuple[Delegation, ...]


class AccountList(Result):
    """Accounts by address; `next` is the address to continue after, if there are more."""

    height: Count
    accounts: tuple[Account, ...]
    next: Hex32 | None


class Outcome(Result):
    """What became of a submitted transaction.

    `pending`: in the mempool (the answer when asked not to wait); `included`: in block `height` and applied; `failed`:
    in block `height`, where it changed nothing but its fee and nonce, for the reason in `error` and `message`;
    `expired`: not included by its expiry height, and it never will be. A transaction that is refused at once is no
    outcome but an error.
    """

    id: Hex32
    status: Literal["pending", "included", "failed", "expired"]
    height: Count | None
    expiry_height: Count | None
    error: Count
    message: str


class Transaction(Result):
    """A transaction of the log or of the mempool; `fields` are those of its kind, bytes as hex."""

    id: Hex32
    kind: str
    status: Literal["pending", "included", "failed"]
    sender: Hex32 | None
    nonce: Count | None
    fee_units: Units
    expiry_height: Count | None
    height: Count | None
    index: Count | None
    error: Count
    message: str
    size_bytes: Count
    fields: dict[str, Any]


# --- chain -----------------------------------------------------------------------------------------------------------


class ChainHead(Result):
    """The newest committed block of this node, and the roots after it."""

    chain: Hex32
    height: Count
    block: Hex32
    time_ms: Count
    state_root: Hex32
    receipts_root: Hex32


class BlockTransaction(Result):
    """One transaction of a block and what became of it; `error` 0 means applied."""

    id: Hex32
    kind: str
    sender: Hex32 | None
    error: Count
    message: str


class Signer(Result):
    """A replica of the set that decided a block, and whether this node's commit holds its signature."""

    consensus_key: Hex32
    power: Count
    has_signed: bool


class Block(Result):
    """A block of the log. Roots in a header are those after the previous block."""

    height: Count
    block: Hex32
    time_ms: Count
    round: Count
    commit_round: Count
    proposer: Hex32
    previous_block: Hex32
    transactions_root: Hex32
    state_root: Hex32
    receipts_root: Hex32
    size_bytes: Count
    transactions: tuple[BlockTransaction, ...]
    signers: tuple[Signer, ...]


# --- logs and events -------------------------------------------------------------------------------------------------


class LogLine(Result):
    """One line of the daemon's log: its serial number, event, fields, and the text that a terminal shows."""

    number: Count
    time_ms: Count
    level: Level
    event: str
    text: str
    fields: dict[str, Any]


class LogTail(Result):
    """The newest lines of the log, oldest first, and the number that the next line will have."""

    lines: tuple[LogLine, ...]
    next: Count


class BlockEvent(Result):
    """A block was committed: topic `blocks`.

    `duration_ms` runs from the height's start to the commit; nobody knows it of a block that is told again.
    """

    height: Count
    block: Hex32
    round: Count
    time_ms: Count
    proposer: Hex32
    transactions: Count
    signed: Count
    replicas: Count
    duration_ms: Count | None


class RoundEvent(Result):
    """The replica entered a step of a round, or waits for the stated cause: topic `rounds`.

    Of heights from before the daemon's start only `decided` is known, with the round that decided.
    """

    height: Count
    round: Count
    step: str
    cause: str


class TaskEvent(Result, tag_field="job", tag="task"):
    """A phase of a task began or ended, or this node did a duty of it: topic `tasks`. `text` says it in a sentence.

    `index` is the event's place among those of its height.
    """

    height: Count
    index: Count
    task: Count
    name: str
    epoch: Count
    phase: str
    text: str


class AllianceEvent(Result, tag_field="job", tag="alliance"):
    """A step of an alliance began, a round was settled with an outcome, or this node did a duty: topic `tasks`."""

    height: Count
    index: Count
    alliance: Count
    name: str
    round: Count
    phase: str
    text: str


class PeerEvent(Result):
    """A peer was connected or lost: topic `peers`."""

    peer: str
    change: PeerChange
    peers: Count


class WorkEvent(Result):
    """How far a piece of long work is: topic `work`. The last event of each says `done` or `failed`.

    `done` and `total` count `unit`; `rate_millionths` is units a second since it began; `left_ms` is null while
    nothing was done yet; `note` says in a few words what else there is to say, such as a training's loss.
    """

    work: Count
    kind: WorkKind
    subject: str
    unit: str
    state: WorkState
    done: Count
    total: Count
    elapsed_ms: Count
    rate_millionths: Count
    left_ms: Count | None
    note: str = ""


class WorkList(Result):
    """The long work that is under way, oldest first."""

    works: tuple[WorkEvent, ...]


# What became of a task or an alliance: the topic `tasks`.
JobEvent = TaskEvent | AllianceEvent
Event = BlockEvent | RoundEvent | JobEvent | LogLine | PeerEvent | WorkEvent


class Subscription(Result):
    """A subscription of this connection has begun; its notifications are called `events.event`."""

    subscription: Count


class Unsubscribed(Result):
    """Whether there was such a subscription."""

    was_subscribed: bool


class Notification(Result):
    """The parameters of a notification: `seq` counts from 0 for each subscription and has no gaps.

    After a break, subscribe `from_height` of the last event (events of that height come again), and for the log
    `from_line` one above the last `number`.
    `topic` is `lagged` in the last one to a reader that was too slow, whose subscription is then over.
    """

    subscription: Count
    seq: Count
    topic: Literal["blocks", "rounds", "tasks", "logs", "peers", "work", "lagged"]
    event: dict[str, Any]
