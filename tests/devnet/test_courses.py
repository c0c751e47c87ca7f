"""Rounds of an alliance once more in one process: which updates count, and where a rejected round leaves the model."""

import os
from pathlib import Path

from msgspec.structs import replace

from devnet.courses import Owner, Recipe, list_counted, list_proposers, repeat_rounds, run_round, run_rounds
from flocknode.jobs import DatasetPart, MakeModel, SplitDataset
from flocknode.rpc.alliance_records import JudgedUpdate, ProvenSum, Round, Share, Training
from flocknode.worker import Worker
from protocol.models import linear_model

A, B, C = ("aa" * 32, "bb" * 32, "cc" * 32)


def judge(proposer: str, *, is_accepted: bool) -> JudgedUpdate:
    return JudgedUpdate(
        proposer=proposer,
        in_favour=0,
        against=0,
        score_millionths=None,
        gain_millionths=None,
        is_accepted=is_accepted,
    )


def propose(account: str) -> Share:
    return Share(
        account=account,
        role="proposer",
        stake_units=1,
        merit_millionths=None,
        has_acted=True,
        is_absent=False,
        earned_units=0,
        slashed_units=0,
    )


def make_round(number: int, *accepted: str, state="accepted", score: int | None = None) -> Round:
    """Return a settled round in which A and B proposed, and these were accepted."""
    return Round(
        round=number,
        state=state,
        phase=None,
        pool_units=0,
        reward_units=0,
        paid_units=0,
        slashed_units=0,
        root=None,
        score_millionths=score,
        in_favour=0,
        against=0,
        updates=tuple(judge(one, is_accepted=one in accepted) for one in (B, A)),
        shares=(propose(B), propose(A)),
        settled_height=None,
    )


def test_what_counts_are_accepted_updates_or_those_in_a_proven_sum() -> None:
    """Of clear rounds the accepted ones, of hidden ones those that were summed; all who trained are proposers."""
    proven = ProvenSum(aggregator=C, digest=C, proof=C, root=C, summed=(B, A), liars=(), unreadable=())
    clear = make_round(0, B)
    assert list_counted(clear) == [B]
    assert list_counted(replace(clear, proven=proven)) == [A, B]
    assert list_proposers([clear, clear]) == [[A, B], [A, B]]


async def test_after_a_rejected_round_training_goes_on_from_the_best_model(tmp_path: Path) -> None:
    """Accepted, better; accepted, worse; rejected: the fourth round begins with the first one's model (VI.E)."""
    worker, start = Worker(tmp_path / "scratch"), tmp_path / "start"
    model = linear_model(inputs=10, outputs=1)
    try:
        await worker.run(MakeModel(model, 0, str(start)))
        parts = DatasetPart("a", 1), DatasetPart("b", 1)
        files = (await worker.run(SplitDataset("diabetes", 0, parts, str(tmp_path)))).files
        owners = {
            name: Owner(Path(file.path), seed) for seed, (name, file) in enumerate(zip((A, B), files, strict=True))
        }
        recipe = Recipe(model, Training(passes=1, learning_rate_millionths=100_000, batch_size=64), owners)
        rounds = [
            make_round(0, A, score=300_000),
            make_round(1, B, score=200_000),
            make_round(2, state="rejected"),
            make_round(3, A, B, score=250_000),
        ]
        again = await repeat_rounds(worker, recipe, rounds, start, tmp_path / "again", higher_is_better=True)
        first = await run_rounds(worker, recipe, [[A]], start, tmp_path / "first")
        os.rename(first, tmp_path / "best")
        best = await run_round(worker, recipe, [A, B], 3, tmp_path / "best", tmp_path / "fourth")
        void = await repeat_rounds(
            worker,
            recipe,
            [make_round(0, A, score=1), make_round(1, state="void")],
            start,
            tmp_path / "void",
            higher_is_better=True,
        )
        assert void.read_bytes() == (tmp_path / "best").read_bytes()
    finally:
        await worker.stop()
    assert again.read_bytes() == best.read_bytes()
