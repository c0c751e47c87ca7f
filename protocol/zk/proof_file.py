"""One file that shows to anybody, without a node, that an aggregate was made as the white paper's VI.H asks for.

It holds everything that the proof depends on. What no file can show is that its context is that of a real chain: the
reader compares chain, alliance, round and the digest of Enc(w) with a log that he trusts.
"""

from typing import Literal

from protocol.codec import MAX_DECODE_BYTES, decode
from protocol.types import Record
from protocol.zk.aggregation import Aggregation, verify_aggregation
from protocol.zk.statement import Statement

MAX_PROOF_FILE_BYTES = MAX_DECODE_BYTES


class ProofFile(Record):
    """A statement and its proof, with a first field that says what the file is; canonical MessagePack."""

    format: Literal["zkfl/proof/v1"]
    statement: Statement
    aggregation: Aggregation


def make_proof_file(statement: Statement, aggregation: Aggregation) -> ProofFile:
    """Return the record to write down."""
    return ProofFile("zkfl/proof/v1", statement, aggregation)


def read_proof_file(data: bytes) -> ProofFile:
    """Return what a file says, unverified. Raises `Malformed` if it is no such file."""
    return decode(data, ProofFile, max_bytes=MAX_PROOF_FILE_BYTES)


def verify_proof_file(file: ProofFile) -> None:
    """Return if the proof holds; raise `InvalidProof` saying exactly what is wrong otherwise."""
    verify_aggregation(file.statement, file.aggregation)
