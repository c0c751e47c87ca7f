"""What is said of the stored log: by `log verify`, on a stopped home and over RPC alike, and by `db repair`.

The same conventions as in `flocknode.rpc.records`. No behaviour lives here.
"""

from typing import Literal

from flocknode.rpc.records import Count, Hex, Result

Part = Literal["head", "block", "commit", "receipts", "index", "state", "bucket", "stray", "database", "journal"]


class Finding(Result):
    """One place where what is stored is not what it should be: which part of the log, the place and reason in words.

    `height` is that of a block and what belongs to it; `key` and `bucket` are those of a record of the state.
    """

    part: Part
    place: str
    reason: str
    height: Count | None = None
    bucket: Count | None = None
    key: Hex | None = None


class Verification(Result):
    """How far a verification is, or what came of it.

    `sound`: every block up to `target` was executed again, and all that is stored is what came out. `broken`: see
    `findings`, of which only the first are listed. `stopped`: it did not come to its end, for the reason in `cause`.
    Heights, transactions, signatures and records are those checked so far.
    """

    state: Literal["none", "running", "sound", "broken", "stopped"]
    height: Count
    target: Count
    transactions: Count
    signatures: Count
    records: Count
    journal_records: Count
    duration_ms: Count
    findings: tuple[Finding, ...]
    findings_left_out: Count
    cause: str


class Repair(Result):
    """What `db repair` did. `moved` are the damaged files, now under `moved_to`; nothing was deleted.

    The log begins again with the `kept_height` blocks that could be verified, the rest comes from peers at the next
    start. With `signs_after_ms` the replica signs nothing until a block that was made after this time has committed.
    """

    was_sound: bool
    moved_to: str | None
    moved: tuple[str, ...]
    kept_height: Count
    kept_notes: Count
    signs_after_ms: Count | None
    findings: tuple[Finding, ...]
