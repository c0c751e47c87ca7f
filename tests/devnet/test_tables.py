"""What the tables say about an outcome."""

from devnet import tables
from devnet.report import describe_epoch
from flocknode.rpc.arena_records import ScoreEntry


def entry(epoch, validator, tag, score):
    """Return a revealed score; None is one for an invalid model."""
    return ScoreEntry(
        epoch=epoch,
        validator=validator,
        tag=tag,
        verdict="invalid" if score is None else "scored",
        score_millionths=score,
        duplicate_of=None,
        is_ignored=False,
        is_overruled=False,
    )


def test_the_leaderboard_shows_a_and_b_side_by_side(board, address):
    """Trainers come by their rank on B, with rank and score on both datasets."""
    names = {address("b"): "bob", address("c"): "carol", address("d"): "dave"}
    rows = tables.leaderboard_table(board, names).rows
    assert [row[0] for row in rows] == ["dave", "bob", "carol"]
    assert rows[0][1:5] == ("3", "0.8800", "1", "0.9000")


def test_the_blind_table_names_no_author(address):
    """The table of the blind moment has every validator's score for each pseudonym, and no author."""
    scores = [entry(0, address("e"), "1" * 64, 900_000), entry(0, address("f"), "1" * 64, None)]
    table = tables.blind_table(scores, {address("e"): "erin", address("f"): "frank"})
    assert list(table.columns) == ["PSEUDONYM", ">erin", ">frank", "AUTHOR"]
    assert table.rows == [("11111111…", "0.9000", "invalid", "?")]


def test_payouts_are_added_up(board):
    """The last row sums each column, and the sentence compares the sum with the pots."""
    assert [row[0] for row in tables.payouts_table(board, {}).rows][-1] == "sum"
    assert tables.pots_sentence(board).endswith("what was paid, to the last unit")


def test_the_report_keeps_scores_of_its_epoch_only(board, address):
    """An epoch's report maps validator to tag to score, null where nothing was scored, and holds no other epoch's."""
    scores = [
        entry(0, address("e"), "1" * 64, 5),
        entry(1, address("e"), "2" * 64, 6),
        entry(0, address("f"), "1" * 64, None),
    ]
    report = describe_epoch(board.epochs[0], scores)
    assert report.scores == {address("e"): {"1" * 64: 5}, address("f"): {"1" * 64: None}}
    assert [ranked.payout for ranked in report.ranking] == [2, 2, 2]
    assert report.validator_payouts == {address("e"): 28, address("f"): 24}
