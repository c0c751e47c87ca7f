"""What the bench of alliances says of rounds, and of Flower where that is not installed."""

from devnet.bench.alliance import Flower, describe_flower, keep_accepted, list_proposers
from devnet.bench.figures import Figure, format_value
from flocknode.rpc.alliance_records import JudgedUpdate, ProvenSum, Round, RoundList, Share

A, B, C = ("aa" * 32, "bb" * 32, "cc" * 32)


def make_round(number: int, state: str, *, updates=(), proven=None) -> Round:
    shares = tuple(
        Share(
            account=account,
            role="proposer",
            stake_units=1,
            merit_millionths=None,
            has_acted=True,
            is_absent=False,
            earned_units=0,
            slashed_units=0,
        )
        for account in (B, A)
    )
    return Round(
        round=number,
        state=state,
        phase=None,
        pool_units=0,
        reward_units=0,
        paid_units=0,
        slashed_units=0,
        root=None,
        score_millionths=None,
        in_favour=0,
        against=0,
        updates=updates,
        shares=shares,
        settled_height=None,
        proven=proven,
    )


def judge(proposer: str, *, is_accepted: bool) -> JudgedUpdate:
    return JudgedUpdate(
        proposer=proposer,
        in_favour=0,
        against=0,
        score_millionths=None,
        gain_millionths=None,
        is_accepted=is_accepted,
    )


def test_the_plain_loop_repeats_what_made_each_model() -> None:
    """Of clear rounds the accepted updates, of hidden ones those in the proven sum; of rejected rounds nothing."""
    proven = ProvenSum(aggregator=C, digest=C, proof=C, root=C, summed=(B, A), liars=(), unreadable=())
    rounds = (
        make_round(0, "accepted", updates=(judge(B, is_accepted=True), judge(A, is_accepted=False))),
        make_round(1, "rejected", updates=(judge(A, is_accepted=False),)),
        make_round(2, "accepted", proven=proven),
    )
    found = RoundList(alliance=1, name="bench", rounds=rounds)
    assert keep_accepted(found) == {0: [B], 2: [A, B]}
    assert list_proposers(found) == {0: [A, B], 1: [A, B], 2: [A, B]}


def test_without_flower_its_row_says_how_to_install_it() -> None:
    """The bench runs without the extra, and shows no value where none was measured."""
    (row,) = describe_flower(None, 50)
    assert row.unit == "not installed: pip install 'flocknode[bench]'"
    assert format_value(row) == "-"


def test_flowers_rate_counts_its_own_seconds() -> None:
    """Rounds by the seconds that Flower took, and its accuracy in percent."""
    rate, accuracy = describe_flower(Flower(seconds=4.0, accuracy=0.9125), 50)
    assert (rate.value, accuracy.value) == (12.5, 91.25)
    assert format_value(Figure(name="", value=1234.5, unit="")) == "1,234.50"
