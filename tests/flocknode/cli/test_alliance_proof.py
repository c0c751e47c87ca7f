"""`flocknode alliance verify-proof`: a file, a verdict, an exit code; no node anywhere."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from flocknode.cli import app
from flocknode.errors import Exit
from protocol.codec import encode
from protocol.zk.aggregation import aggregate_digest
from protocol.zk.proof_file import MAX_PROOF_FILE_BYTES, ProofFile, make_proof_file
from protocol.zk.statement import Statement
from tests.zk_round import aggregate, declare, play

ROUND = play(4)
# The fourth client did not open to the aggregator.
STATEMENT = declare(ROUND.context, ROUND.updates[:3], ROUND.weights)
FILE = make_proof_file(STATEMENT, aggregate(STATEMENT, ROUND.openings[:3]))


def save(folder: Path, file: ProofFile) -> str:
    """Write a proof and return where."""
    path = folder / "round.proof"
    path.write_bytes(encode(file))
    return str(path)


def with_statement(statement: Statement) -> ProofFile:
    """Return the proof about another statement than it was made for."""
    return replace(FILE, statement=statement)


def test_a_valid_proof_is_called_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, who was summed and who was absent, and the digest to compare with the log."""
    assert app.run(["alliance", "verify-proof", save(tmp_path, FILE)]) == Exit.OK
    out, err = capsys.readouterr()
    assert (out.splitlines()[0].partition(":")[0], err) == ("valid", "")
    assert aggregate_digest(ROUND.context, FILE.aggregation.product).hex() in out
    lines = [
        line.split() for line in out.splitlines() if line.startswith(tuple(key.hex() for key in ROUND.context.keys))
    ]
    expected = [*map(str, ROUND.weights[:3]), "absent"]
    assert lines == [[key.hex(), said] for key, said in zip(ROUND.context.keys, expected, strict=True)]


def test_json_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object: the verdict, and all that the proof is about."""
    assert app.run(["alliance", "verify-proof", save(tmp_path, FILE), "--json"]) == Exit.OK
    found = json.loads(capsys.readouterr().out)
    assert (found["valid"], found["reason"], found["about"]) == (True, None, None)
    assert (found["alliance"], found["round"], found["values"]) == (3, 7, 20)
    assert [client["weight"] for client in found["summed"]] == list(ROUND.weights[:3])
    assert found["absent"] == [ROUND.context.keys[3].hex()]
    assert (found["commitments_bytes"], found["proof_bytes"]) == (3 * 3 * 48, 272)


@pytest.mark.parametrize(
    ("statement", "reason", "about"),
    [
        (replace(STATEMENT, absent=()), "a selected client was left out of the sum and is not absent", 3),
        (replace(STATEMENT, context=replace(ROUND.context, round=8)), "the client did not sign this commitment", 0),
        (
            replace(
                STATEMENT, contributions=(replace(STATEMENT.contributions[0], weight=2), *STATEMENT.contributions[1:])
            ),
            "row 0 of Enc(w) is not the weighted product of the commitments",
            None,
        ),
    ],
    ids=["a client left out", "another round", "another weight"],
)
def test_what_is_wrong_is_said_exactly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], statement: Statement, reason: str, about: int | None
) -> None:
    """Exit code 1, the reason in words, and which client it is about."""
    path = save(tmp_path, with_statement(statement))
    assert app.run(["alliance", "verify-proof", path]) == Exit.ERROR
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"invalid: {reason}")
    assert app.run(["alliance", "verify-proof", path, "--json"]) == Exit.ERROR
    found = json.loads(capsys.readouterr().out)
    assert found["valid"] is False
    assert found["about"] == (None if about is None else ROUND.context.keys[about].hex())


@pytest.mark.parametrize("data", [b"", b"no proof", encode(FILE)[:-1], bytes(MAX_PROOF_FILE_BYTES + 1)], ids=len)
def test_what_is_no_proof_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes) -> None:
    """Exit code 1, nothing on stdout, and what to do; a file that is too long is not read to its end."""
    path = tmp_path / "odd"
    path.write_bytes(data)
    assert app.run(["alliance", "verify-proof", str(path)]) == Exit.ERROR
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {path} is no zkFL proof: ")


def test_a_missing_file_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, with the reason."""
    assert app.run(["alliance", "verify-proof", str(tmp_path / "none")]) == Exit.ERROR
    assert "No such file" in capsys.readouterr().err
