"""The file that shows a proof to anybody; and what reading and verifying it needs."""

import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from protocol.codec import encode
from protocol.errors import InvalidProof, Malformed
from protocol.zk.proof_file import MAX_PROOF_FILE_BYTES, make_proof_file, read_proof_file, verify_proof_file
from tests.zk_round import play

ROUND = play(3)
FILE = make_proof_file(ROUND.statement, ROUND.aggregation)
DATA = encode(FILE)


def test_a_file_verifies_after_reading() -> None:
    """Everything that the proof depends on is in it."""
    found = read_proof_file(DATA)
    assert found == FILE
    verify_proof_file(found)


def test_what_is_no_proof_file_is_refused() -> None:
    """Cut, with more behind it, of another format, and not MessagePack at all."""
    for data in (DATA[:-1], DATA + b"\0", encode(replace(FILE, format="zkfl/proof/v2")), b"", b"{}"):  # type: ignore[arg-type]
        with pytest.raises(Malformed):
            read_proof_file(data)


def test_a_changed_file_is_refused_at_every_byte() -> None:
    """No byte can be flipped and the file still hold."""
    for at in range(len(DATA)):
        changed = DATA[:at] + bytes([DATA[at] ^ 1]) + DATA[at + 1 :]
        with pytest.raises((InvalidProof, Malformed)):
            verify_proof_file(read_proof_file(changed))


def test_a_file_of_the_largest_round_can_be_read() -> None:
    """64 clients with 513 points each, and the product, are far from the limit."""
    assert MAX_PROOF_FILE_BYTES > 65 * (513 * 48 + 200)


def test_verifying_needs_no_numpy() -> None:
    """A replica that imports all that it verifies with has neither numpy nor anything of learning in memory."""
    program = (
        "import sys, protocol.zk.proof_file, protocol.zk.knowledge;"
        "print({'numpy', 'torch', 'trio', 'libp2p'} & set(sys.modules))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("set()\n", "")
