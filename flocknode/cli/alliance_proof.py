"""The commands about zkFL proofs: write that of a round into a file, and check a file with neither node nor network."""

import base64
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from flocknode.cli.options import Common
from flocknode.cli.output import show
from flocknode.cli.text import FIRST_EPOCH, Table, format_fields, parse_counted
from flocknode.errors import Exit, FileUnusable, UsageError
from flocknode.rpc.alliance_records import ProofPart
from flocknode.rpc.call import call
from protocol.errors import InvalidProof, Malformed

if TYPE_CHECKING:
    from protocol.zk.proof_file import ProofFile


class Summed(Struct, frozen=True):
    """A client whose update is in the sum, and its weight."""

    key: str
    weight: int


class ProofReport(Struct, frozen=True):
    """What a file says, and whether it is so; `reason` says exactly what is wrong, about which client if about one.

    The digest is that of Enc(w), as the log has it if the round is real. Sizes are in bytes, hashes and keys hex.
    """

    file: str
    valid: bool
    reason: str | None
    about: str | None
    chain: str
    alliance: int
    round: int
    model: str
    values: int
    beacon: str
    summed: tuple[Summed, ...]
    absent: tuple[str, ...]
    aggregator: str
    digest: str
    commitments_bytes: int
    proof_bytes: int
    duration_ms: int


class WrittenProof(Struct, frozen=True):
    """A file that was written, and how long it is."""

    file: str
    alliance: int
    round: int
    length_bytes: int


def write_proof(alliance: str, round: int, /, *, out: Path, options: Common) -> None:
    """Write the proof of a round's sum, as the log has it, into a file that `verify-proof` checks without a node.

    Parameters
    ----------
    alliance
        Name or number of the alliance, which hides its updates.
    round
        A settled round, counted from 1.
    out
        The file to write; it must not exist.
    """
    number = parse_counted(round, "rounds")
    if out.exists():
        raise UsageError(f"{out} exists", help="Name another file, or remove that one.")
    first = call(options.home, "alliance.proof", ProofPart, alliance=alliance, round=number)
    found = [first] + [
        call(options.home, "alliance.proof", ProofPart, alliance=alliance, round=number, part=part)
        for part in range(1, first.parts)
    ]
    data = b"".join(base64.b64decode(part.data) for part in found)
    out.write_bytes(data)
    written = WrittenProof(str(out), first.alliance, number, len(data))
    show(options, written, lambda written: f"{written.file}: {written.length_bytes} bytes; check with verify-proof")


def verify_proof(file: Path, /, *, options: Common) -> Exit:
    """Check the proof of an aggregation that somebody put into a file; exit code 1 if it does not hold.

    Needs no node. Compare chain, alliance, round and digest with a log that you trust: no file proves them.

    Parameters
    ----------
    file
        What `flocknode alliance proof` or another implementation wrote.
    """
    report = make_report(file, load_proof(file))
    show(options, report, render)
    return Exit.OK if report.valid else Exit.ERROR


def load_proof(path: Path) -> "ProofFile":
    """Return what a file says, unverified. Raises `FileUnusable` when it is too long, or no such file."""
    from protocol.zk.proof_file import MAX_PROOF_FILE_BYTES, read_proof_file

    with path.open("rb") as stream:
        data = stream.read(MAX_PROOF_FILE_BYTES + 1)
    try:
        return read_proof_file(data)
    except Malformed as error:
        raise FileUnusable(
            f"{path} is no zkFL proof: {error.message}", help="It may be cut; ask for the file again."
        ) from error


def make_report(path: Path, found: "ProofFile") -> ProofReport:
    """Verify a proof, and return what it says together with the verdict."""
    from protocol.zk.aggregation import aggregate_digest
    from protocol.zk.proof_file import verify_proof_file

    reason, about, began = None, None, time.monotonic()
    try:
        verify_proof_file(found)
    except InvalidProof as error:
        reason, about = error.message, error.data.get("key")
    duration_ms = round(1000 * (time.monotonic() - began))
    context, contributions = found.statement.context, found.statement.contributions
    return ProofReport(
        file=str(path),
        valid=reason is None,
        reason=reason,
        about=str(about) if about is not None else None,
        chain=context.chain.hex(),
        alliance=context.alliance,
        round=context.round,
        model=context.model.root.hex(),
        values=context.values,
        beacon=context.beacon.hex(),
        summed=tuple(Summed(part.key.hex(), part.weight) for part in contributions),
        absent=tuple(key.hex() for key in found.statement.absent),
        aggregator=found.aggregation.key.hex(),
        digest=aggregate_digest(context, found.aggregation.product).hex(),
        commitments_bytes=sum(len(part.commitment) for part in contributions),
        proof_bytes=len(found.aggregation.proof),
        duration_ms=duration_ms,
    )


def render(report: ProofReport) -> list[str | Table]:
    """Return the verdict first, then what it is about."""
    verdict = "valid: the aggregator knew every update behind Enc(w), the weighted product of all commitments"
    if not report.valid:
        verdict = f"invalid: {report.reason}" + (f" ({report.about})" if report.about else "")
    fields = [
        ("chain", report.chain),
        ("alliance", str(report.alliance)),
        ("round", str(report.round + FIRST_EPOCH)),
        ("from model", f"{report.model}, {report.values} values"),
        ("beacon", report.beacon),
        ("aggregator", report.aggregator),
        ("Enc(w) digest", report.digest),
        ("size", f"{report.commitments_bytes} bytes of commitments, {report.proof_bytes} of proof"),
        ("verified in", f"{report.duration_ms} ms"),
    ]
    clients = [(one.key, str(one.weight)) for one in report.summed] + [(key, "absent") for key in report.absent]
    return [verdict, "", format_fields(fields), "", Table(("CLIENT", ">WEIGHT"), clients)]
