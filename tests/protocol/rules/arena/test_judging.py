"""From score sheets to judgements: verdicts, outliers, and copies by plaintext and by output."""

import pytest
from msgspec.structs import replace

from protocol.formulas import fees
from protocol.params import DEVNET, Aggregation
from protocol.rules.arena.results import Ranked
from protocol.transactions import ScoreEntry, Verdict
from tests.arena_play import Play
from tests.ledger_driver import FML, Person


@pytest.fixture
def play() -> Play:
    return Play().begin().submit().open()


def vary(entries: tuple[ScoreEntry, ...], tag: bytes, **changes) -> tuple[ScoreEntry, ...]:
    """Return the entries with that of one tag changed."""
    return tuple(replace(entry, **changes) if entry.tag == tag else entry for entry in entries)


def settle(play: Play, sheets: dict[Person, tuple[ScoreEntry, ...]]) -> dict[Person, Ranked]:
    """Settle the epoch with these sheets; returns every trainer's outcome."""
    tags = {play.tag(person): person for person in play.trainers}
    play.commit(sheets).reveal().claim()
    play.expect_conserved()
    return {tags[ranked.tag]: ranked for ranked in play.result(0).ranking}


def ranks(outcome: dict[Person, Ranked]) -> list[int]:
    return [outcome[person].rank for person in outcome]


INVALID = {"verdict": Verdict.INVALID, "score": 0}
UNFETCHABLE = {"verdict": Verdict.UNFETCHABLE, "score": 0, "root": None}


# --- verdicts --------------------------------------------------------------------------------------------------------


def test_a_majority_makes_a_submission_invalid(play):
    """Two of three equal stakes: it has no score and no rank, and its author earns nothing."""
    tag, entries = play.tag(play.trainers[0]), play.entries()
    bad = vary(entries, tag, **INVALID)
    outcome = settle(play, {play.validators[0]: entries, play.validators[1]: bad, play.validators[2]: bad})
    found = outcome[play.trainers[0]]
    assert (found.verdict, found.score, found.rank, found.reward_a) == (Verdict.INVALID, None, 0, 0)
    assert [outcome[person].rank for person in play.trainers[1:]] == [1, 2]


def test_a_minority_cannot_make_a_submission_invalid(play):
    """One of three: the scores of the others stand."""
    entries = play.entries()
    bad = vary(entries, play.tag(play.trainers[0]), **INVALID)
    outcome = settle(play, {play.validators[0]: bad, play.validators[1]: entries, play.validators[2]: entries})
    assert [outcome[person].rank for person in play.trainers] == [1, 2, 3]
    assert outcome[play.trainers[0]].verdict is Verdict.SCORED


ABSENCE = DEVNET.absence_slash_millionths


@pytest.mark.parametrize(("scoring", "drawn", "is_slashed"), [(2, 3, True), (1, 3, False), (2, 4, False)])
def test_who_calls_invalid_what_two_thirds_could_score_is_slashed_like_the_absent(scoring, drawn, is_slashed):
    """Some of equal stakes score, one calls two models invalid, and a fourth is absent: 2/3 of what was drawn counts.

    It is slashed once for the epoch, and still earns for what it did score.
    """
    play = Play(validators=drawn).begin().submit().open()
    first, second, third = (play.tag(person) for person in play.trainers)
    entries = play.entries()
    bad = vary(vary(entries, first, **INVALID), second, **INVALID)
    *others, wrong = play.validators[: scoring + 1]
    abstains = vary(vary(entries, first, **UNFETCHABLE), second, **UNFETCHABLE)
    sheets = {**dict.fromkeys(others, entries), wrong: bad}
    if drawn == 3:
        sheets |= dict.fromkeys(play.validators[scoring + 1 :], abstains)
    settle(play, sheets)
    payouts = {payout.address: payout for payout in play.result(0).validators}
    taken = fees.slash_amount(100 * FML, slash_millionths=ABSENCE)
    assert payouts[wrong.address].slashed == (taken if is_slashed else 0)
    assert payouts[wrong.address].earned > 0
    overruled = {entry.tag: entry.overruled for entry in play.result(0).ranking}
    assert overruled == {first: (wrong.address,) * is_slashed, second: (wrong.address,) * is_slashed, third: ()}
    absent = [person for person in play.validators if person not in sheets]
    assert [payouts[person.address].slashed for person in absent] == [taken] * len(absent)
    assert all(payouts[person.address].slashed == 0 for person in others)


def test_whoever_says_invalid_with_the_majority_is_right(play):
    """Nobody is slashed for the verdict that stands, nor who was alone with a score: it might have run there."""
    tag, entries = play.tag(play.trainers[0]), play.entries()
    bad = vary(entries, tag, **INVALID)
    settle(play, {play.validators[0]: entries, play.validators[1]: bad, play.validators[2]: bad})
    assert [payout.slashed for payout in play.result(0).validators] == [0, 0, 0]


def test_an_even_split_has_no_verdict():
    """Half of the stake is no majority: the submission is not ranked."""
    play = Play(validators=4).begin().submit().open()
    entries = play.entries()
    bad = vary(entries, play.tag(play.trainers[0]), **INVALID)
    outcome = settle(play, dict(zip(play.validators, (entries, entries, bad, bad), strict=True)))
    assert (outcome[play.trainers[0]].verdict, outcome[play.trainers[0]].rank) == (None, 0)


def test_an_abstention_does_not_count(play):
    """Who could not fetch a model says nothing of it: the scores of the two others decide."""
    entries = play.entries()
    abstains = vary(entries, play.tag(play.trainers[2]), **UNFETCHABLE)
    best = vary(entries, play.tag(play.trainers[2]), score=990_000)
    outcome = settle(play, {play.validators[0]: best, play.validators[1]: best, play.validators[2]: abstains})
    assert (outcome[play.trainers[2]].score, outcome[play.trainers[2]].rank) == (990_000, 1)


@pytest.mark.parametrize("validators", [3, 4])
def test_a_model_that_half_of_the_stake_cannot_fetch_is_not_ranked(validators):
    """So nobody is judged by the one friend that it serves; who scored it earns nothing for that."""
    play = Play(validators=validators).begin().submit().open()
    entries = play.entries()
    abstains = vary(entries, play.tag(play.trainers[2]), **UNFETCHABLE)
    friendly = vary(entries, play.tag(play.trainers[2]), score=990_000)
    outcome = settle(play, dict.fromkeys(play.validators[:2], abstains) | dict.fromkeys(play.validators[2:], friendly))
    found = outcome[play.trainers[2]]
    assert (found.verdict, found.score, found.rank, found.reward_a) == (Verdict.UNFETCHABLE, None, 0, 0)
    assert [outcome[person].rank for person in play.trainers[:2]] == [1, 2]
    earned = {payout.earned for payout in play.result(0).validators}
    assert max(earned) - min(earned) <= 1


def test_stake_decides_and_not_heads():
    """One validator with more stake than the two others together has the majority."""
    play = Play()
    play.begin(stakes={play.validators[0]: 300 * FML}).submit().open()
    entries = play.entries()
    bad = vary(entries, play.tag(play.trainers[0]), **INVALID)
    outcome = settle(play, {play.validators[0]: bad, play.validators[1]: entries, play.validators[2]: entries})
    assert outcome[play.trainers[0]].verdict is Verdict.INVALID


# --- scores ----------------------------------------------------------------------------------------------------------


def test_an_outlier_is_ignored_and_earns_nothing_for_it(play):
    """A score far from the median neither moves the consensus nor pays; its other scores do."""
    tag, entries = play.tag(play.trainers[2]), play.entries()
    liar = play.validators[2]
    outcome = settle(play, dict.fromkeys(play.validators[:2], entries) | {liar: vary(entries, tag, score=1_000_000)})
    found = outcome[play.trainers[2]]
    assert (found.rank, found.score, found.ignored) == (3, 880_000, (liar.address,))
    earned = {payout.address: payout.earned for payout in play.result(0).validators}
    honest = earned[play.validators[0].address]
    # Of three equal submissions the liar has a third of two, the others a third of two and half of one.
    assert abs(earned[liar.address] * 7 - honest * 4) <= 28
    assert sum(earned.values()) == 250 * FML


@pytest.mark.parametrize(("aggregation", "winner"), [(Aggregation.MEAN, 1), (Aggregation.MEDIAN, 0)])
def test_the_tasks_aggregation_decides(aggregation, winner):
    """Under the median a minority within the outlier bound cannot move a rank; under the mean it can."""
    play = Play(validators=4, settings=replace(DEVNET.task, aggregation=aggregation)).begin().submit().open()
    first, second = play.tag(play.trainers[0]), play.tag(play.trainers[1])

    def sheet(one: int, two: int) -> tuple[ScoreEntry, ...]:
        return vary(vary(play.entries(), first, score=one), second, score=two)

    # Means 886,500 and 891,000, lower medians 885,000 and 880,000; 925,000 is just no outlier.
    sheets = (sheet(890_000, 889_000), sheet(889_000, 880_000), sheet(885_000, 870_000), sheet(882_000, 925_000))
    outcome = settle(play, dict(zip(play.validators, sheets, strict=True)))
    assert outcome[play.trainers[winner]].rank == 1


def test_equal_scores_share_a_rank_and_its_pay(play):
    """Two firsts and a third: the firsts share what first and second would have."""
    entries = vary(play.entries(), play.tag(play.trainers[1]), score=900_000)
    outcome = settle(play, dict.fromkeys(play.validators, entries))
    assert [outcome[person].rank for person in play.trainers] == [1, 1, 3]
    paid = [outcome[person].reward_a for person in play.trainers]
    assert abs(paid[0] - paid[1]) <= 1
    assert sum(paid) == 25 * FML
    # A5 with q = 0.85: 0.28085520 of A for the third of three.
    assert paid[2] // 10**5 == 70_213


# --- copies ----------------------------------------------------------------------------------------------------------


def in_order(play: Play) -> list[Person]:
    """Return the trainers in the order of their submissions."""
    return sorted(play.trainers, key=lambda person: play.ledger.submission_of(person, play.task, 0).order)


def test_the_same_plaintext_is_paid_once_to_the_first(play):
    """However it was encrypted: the first entered keeps the rank, though the copy has the better score."""
    first, copy, third = in_order(play)
    root = play.ledger.submission_of(first, play.task, 0).blob.root
    entries = vary(play.entries({first: 800_000}), play.tag(copy), root=root, score=999_999)
    first_tag = play.tag(first)
    outcome = settle(play, dict.fromkeys(play.validators, entries))
    assert outcome[copy].duplicate_of == first_tag
    assert (outcome[copy].rank, outcome[copy].reward_a) == (0, 0)
    assert sorted((outcome[first].rank, outcome[third].rank)) == [1, 2]


def test_a_minority_cannot_call_a_model_a_copy(play):
    """Neither by its root nor by its outputs."""
    first, second, _ = in_order(play)
    entries = play.entries()
    root = play.ledger.submission_of(first, play.task, 0).blob.root
    lies = vary(entries, play.tag(second), root=root, duplicate_of=play.tag(first))
    outcome = settle(play, {play.validators[0]: lies} | dict.fromkeys(play.validators[1:], entries))
    assert outcome[second].duplicate_of is None
    assert all(ranks(outcome))


@pytest.mark.parametrize(("gain", "is_copy"), [(0, True), (999, True), (1_000, False)])
def test_a_near_duplicate_competes_only_if_it_is_better(play, gain, is_copy):
    """It must beat the first of its cluster by `min_improvement`, exactly."""
    first, near, _ = in_order(play)
    entries = vary(play.entries(), play.tag(first), score=900_000)
    entries = vary(entries, play.tag(near), score=900_000 + gain, duplicate_of=play.tag(first))
    first_tag = play.tag(first)
    outcome = settle(play, dict.fromkeys(play.validators, entries))
    assert (outcome[near].duplicate_of == first_tag) == is_copy
    assert (outcome[near].rank == 0) == is_copy


def test_a_copy_of_a_copy_belongs_to_the_first(play):
    """A cluster has one author."""
    first, second, third = in_order(play)
    entries = vary(play.entries(), play.tag(second), score=900_000, duplicate_of=play.tag(first))
    entries = vary(entries, play.tag(third), score=900_000, duplicate_of=play.tag(second))
    entries = vary(entries, play.tag(first), score=900_000)
    first_tag = play.tag(first)
    outcome = settle(play, dict.fromkeys(play.validators, entries))
    assert [outcome[person].duplicate_of for person in (first, second, third)] == [None, first_tag, first_tag]
    assert outcome[first].reward_a == 25 * FML


def test_nothing_is_a_copy_of_what_came_later_or_of_itself(play):
    """Such a claim is ignored: the order of the submissions decides who copied."""
    first, second, _ = in_order(play)
    entries = vary(play.entries(), play.tag(first), duplicate_of=play.tag(second))
    entries = vary(entries, play.tag(second), duplicate_of=play.tag(second))
    outcome = settle(play, dict.fromkeys(play.validators, entries))
    assert all(found.duplicate_of is None and found.rank for found in outcome.values())
