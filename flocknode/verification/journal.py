"""Checks the write-ahead log of a replica: its checksums, that its records can be read, and their signatures."""

from pathlib import Path

from flocknode.replica.blocks import hold_block
from flocknode.replica.journal import Entry, Held, Signed, Taken
from flocknode.verification.report import Report
from protocol.blocks import Block
from protocol.codec import decode
from protocol.errors import InvalidBlock, InvalidSignature, Malformed
from protocol.tendermint.events import ProposalReceived, VoteReceived
from protocol.tendermint.messages import verify_message
from storage.errors import Corrupted
from storage.wal import read_records


def check_journal(chain: bytes, path: Path, report: Report) -> None:
    """Note what is wrong with the write-ahead log. A torn tail is not: a crash leaves one that nothing depends on."""
    try:
        payloads, _ = read_records(path)
    except Corrupted as error:
        report.add_damage("journal", error)
        return
    except OSError as error:
        report.add("journal", str(path), f"cannot be read: {error.strerror}")
        return
    for index, payload in enumerate(payloads):
        try:
            check_entry(chain, decode(payload, Entry))  # type: ignore[arg-type]
        except (Malformed, InvalidBlock, InvalidSignature) as error:
            report.add("journal", f"{path}, record {index} of the file", error.message)
        report.journal_records += 1


def check_entry(chain: bytes, entry: Entry) -> None:
    """Return if an entry is whole. Raises `Malformed`, `InvalidBlock` or `InvalidSignature`."""
    match entry:
        case Signed(message) | Taken(ProposalReceived(message) | VoteReceived(message)):
            verify_message(chain, message)
        case Held(data):
            hold_block(decode(data, Block), data)
