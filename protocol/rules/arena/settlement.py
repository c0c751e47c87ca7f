"""What an epoch pays and costs (white paper V.E to V.H): reward A at once, reward B at the end, validators in full.

All amounts come from the state as it was when the claims closed; the parts of a pot always add up to the pot, and what
nobody has a claim to stays in the task's pot for the next epoch, after the last one in the treasury.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from msgspec.structs import replace

from protocol.crypto import integer_bytes, wide_bytes
from protocol.fixed import MILLION, scaled, split_by_key
from protocol.formulas import arena as formulas
from protocol.formulas import fees
from protocol.rules import charges, purses
from protocol.rules.arena import funding, sources, vaults
from protocol.rules.arena.judging import Judgement, count_stakes, get_epoch_stakes, judge_submissions, remember_models
from protocol.rules.arena.records import (
    CLOSED_PHASES,
    Epoch,
    Member,
    Task,
    get_epoch,
    get_member,
    get_sheet,
    put_member,
    scan_opened,
)
from protocol.rules.arena.results import RESULTS, Counted, EpochResult, PassedOn, Ranked, ValidatorPayout, Weight
from protocol.rules.context import Context
from protocol.rules.jobs import Funding
from protocol.rules.standing import note_paid
from protocol.state import Overlay, StateView


def settle_epoch(state: Overlay, context: Context, task: Task) -> None:
    """Judge, rank and pay one epoch, slash who was absent, and record all of it."""
    epoch = get_epoch(state, task.id, task.epoch)
    held = sources.count_sources(state, task.id)
    pots = funding.open_epoch_pots(state, context, task)
    stakes, seat_stakes = count_stakes(state, task, epoch), get_epoch_stakes(state, task)
    judgements = judge_submissions(state, context, task, stakes)
    weights = weigh_authors(state, task, epoch, judgements)
    remember_models(state, context, task, judgements)
    record_participation(state, task, seat_stakes)
    shares, paid_a = pay_reward_a(state, context, task, weights, pots.trainers)
    paid_b: dict[bytes, Paid] = {}
    if task.is_last_epoch():
        paid_b = pay_reward_b(state, context, task, weights, is_judged=was_judged(judgements))
    earned = pay_validators(state, context, task, judgements, stakes, pots.validators)
    creator_reward = funding.pay_creator(state, task, pots, is_judged=was_judged(judgements))
    funding.return_emission(
        state,
        task,
        pots,
        is_judged=was_judged(judgements),
        are_trainers_paid=bool(shares),
        are_validators_paid=bool(earned),
    )
    sources.keep_rest(state, task.id, held)
    slashed = slash_idle(state, context, task, epoch, judgements)
    forfeit_deposits(state, context, task, epoch)
    result = EpochResult(
        dataset_b=task.is_last_epoch(),
        pot=pots.total,
        emitted=pots.total_emitted,
        creator_reward=creator_reward,
        ranking=rank(judgements, shares, paid_a, paid_b),
        validators=tuple(
            ValidatorPayout(juror.address, earned.get(juror.address, NOTHING).total(), slashed.get(juror.address, 0))
            for juror in epoch.drawn
        ),
        weights=tuple(Weight(author, str(weights[author])) for author in sorted(weights))
        if was_judged(judgements)
        else (),
        passed_on=list_passed_on(paid_a, paid_b, earned),
        own_pots=pots.own,
        emitted_pots=pots.emitted,
        sources=sources.divide_by_source(pots.total - pots.total_emitted, held),
        stakes=tuple(Counted(*counted) for counted in (*seat_stakes.items(), *stakes.items())),
        settled_height=context.height,
    )
    RESULTS.put(state, result, integer_bytes(task.id), integer_bytes(task.epoch))


class Paid(NamedTuple):
    """A reward as it was paid: to the operator's balance, and to its delegators; in units."""

    own: int
    passed_on: int

    def total(self) -> int:
        """Return both parts together."""
        return self.own + self.passed_on


NOTHING = Paid(0, 0)


def list_passed_on(
    paid_a: Mapping[bytes, Paid], paid_b: Mapping[bytes, Paid], earned: Mapping[bytes, Paid]
) -> tuple[PassedOn, ...]:
    """Return what delegators got of an epoch's rewards, by operator; those without any are left out."""
    rewards = (paid_a, paid_b, earned)
    operators = sorted({operator for paid in rewards for operator in paid if paid[operator].passed_on})
    parts = ((operator, [paid.get(operator, NOTHING).passed_on for paid in rewards]) for operator in operators)
    return tuple(PassedOn(operator, *units) for operator, units in parts)


def pay_reward(state: Overlay, task: Task, address: bytes, units: int) -> Paid:
    """Pay a reward of this epoch from the task's pot to an operator and its delegators."""
    if units and task.funding is Funding.VERIFIED:
        note_paid(state, address)
    passed_on = vaults.pay_operator(state, task.id, purses.pot_of(task.id), address, units)
    return Paid(units - passed_on, passed_on)


# --- trainers --------------------------------------------------------------------------------------------------------


def weigh_authors(state: StateView, task: Task, epoch: Epoch, judgements: list[Judgement]) -> dict[bytes, Decimal]:
    """Return the rank weight (A5) of every author with a ranked submission; none if all of them are worth nothing.

    Nobody judged the epoch: then the claims share alike, so that stake decides; in the last epoch the mean of the
    earlier epochs' weights does, for what accrued must be paid by merit. Nobody could have judged it: it is void.
    """
    if was_judged(judgements):
        scores = {j.submission.author: j.score for j in judgements if j.is_ranked()}
        return formulas.rank_weights(
            {author: score for author, score in scores.items() if author is not None and score is not None},
            ratio_millionths=task.spec.settings.rank_ratio_millionths,
            rewarded_count=task.spec.settings.rewarded_trainers,
        )
    if not epoch.drawn:
        return {}
    earlier = add_earlier_weights(state, task) if task.is_last_epoch() else {}
    return earlier or {author: Decimal(1) for author in find_authors(state, task)}


def was_judged(judgements: Iterable[Judgement]) -> bool:
    """Return whether anybody said what any submission of the epoch is worth."""
    return any(judgement.is_judged for judgement in judgements)


def find_authors(state: StateView, task: Task) -> list[bytes]:
    """Return the accounts that claimed a submission of the current epoch, sorted."""
    submissions = [submission for _, submission in scan_opened(state, task.id, task.epoch)]
    return sorted(submission.author for submission in submissions if submission.author is not None)


def add_earlier_weights(state: StateView, task: Task) -> dict[bytes, Decimal]:
    """Return each author's rank weights added up over the settled epochs; their scale does not matter."""
    epochs = [
        {weight.address: Decimal(weight.weight) for weight in result.weights}
        for _, result in RESULTS.scan(state, integer_bytes(task.id))
    ]
    return formulas.add_weights(epochs)


def record_participation(state: Overlay, task: Task, stakes: Mapping[bytes, int]) -> None:
    """Count the epoch and its stake for every seated trainer, and the claim of those who made one."""
    authors = find_authors(state, task)
    for address, stake in stakes.items():
        member = require_member(state, task, address)
        put_member(
            state,
            task.id,
            address,
            replace(
                member,
                stake_sum=wide_bytes(int.from_bytes(member.stake_sum, "big") + stake),
                epochs_claimed=member.epochs_claimed + (address in authors),
            ),
        )
        vaults.collect_points(state, task.id, address)


def pay_reward_a(
    state: Overlay, context: Context, task: Task, weights: Mapping[bytes, Decimal], pot: int
) -> tuple[dict[bytes, Decimal], dict[bytes, Paid]]:
    """Pay reward A by this epoch's weights, and let B accrue; returns (shares, payouts), both by account.

    Without weights the pot stays where it is.
    """
    stakes = get_epoch_stakes(state, task)
    shares = compute_shares(context, weights, stakes)
    paid_a: dict[bytes, Paid] = {}
    if shares:
        reward_a, reward_b = formulas.reward_a_and_b(pot, reward_a_millionths=task.spec.settings.reward_a_millionths)
        purses.move(state, purses.pot_of(task.id), purses.reward_b_of(task.id), reward_b)
        for address, units in split_by_key(reward_a, shares).items():
            paid = paid_a[address] = pay_reward(state, task, address, units)
            member = require_member(state, task, address)
            earned_a, passed_on = member.earned_a + paid.own, member.passed_on + paid.passed_on
            put_member(state, task.id, address, replace(member, earned_a=earned_a, passed_on=passed_on))
    return shares, paid_a


def find_ranks_for_b(
    state: StateView, task: Task, weights: Mapping[bytes, Decimal], *, is_judged: bool
) -> Mapping[bytes, Decimal]:
    """Return the weights that reward B is paid by: those of the last epoch, of the earlier ones if nobody judged it.

    A last epoch in which models were judged, and none was worth anything on dataset B, pays nobody: what did well on A
    alone may have been made for it.
    """
    return weights if is_judged or weights else add_earlier_weights(state, task)


def pay_reward_b(
    state: Overlay, context: Context, task: Task, weights: Mapping[bytes, Decimal], *, is_judged: bool
) -> dict[bytes, Paid]:
    """Pay what accrued, by the ranks on dataset B and the stake that was there all along; returns units by account.

    Delegators get theirs by the epochs that they were there.
    """
    ranks = find_ranks_for_b(state, task, weights, is_judged=is_judged)
    vested = {}
    for address in sorted(ranks):
        member = get_member(state, task.id, address)
        if member is not None:
            vested[address] = formulas.vested_stake(
                int.from_bytes(member.stake_sum, "big"), claimed_epochs=member.epochs_claimed, epochs=task.spec.epochs
            )
    shares = compute_shares(context, {address: ranks[address] for address in vested}, vested)
    purse = purses.reward_b_of(task.id)
    paid_b: dict[bytes, Paid] = {}
    for address, units in split_by_key(purses.get_units(state, purse), shares).items():
        member = require_member(state, task, address)
        stake_sum = int.from_bytes(member.stake_sum, "big")
        paid = paid_b[address] = Paid(*vaults.pay_accrued(state, task.id, purse, address, units, stake_sum))
        earned_b, passed_on = member.earned_b + paid.own, member.passed_on + paid.passed_on
        put_member(state, task.id, address, replace(member, earned_b=earned_b, passed_on=passed_on))
    return paid_b


def compute_shares(
    context: Context, weights: Mapping[bytes, Decimal], stakes: Mapping[bytes, int]
) -> dict[bytes, Decimal]:
    """Return each account's share of the trainers' pot (A6); accounts without stake have none."""
    return formulas.training_shares(
        {address: weight for address, weight in weights.items() if address in stakes},
        stakes=stakes,
        stake_exponent_millionths=context.params.trainer_stake_exponent_millionths,
    )


def rank(
    judgements: list[Judgement],
    shares: Mapping[bytes, Decimal],
    paid_a: Mapping[bytes, Paid],
    paid_b: Mapping[bytes, Paid],
) -> tuple[Ranked, ...]:
    """Return the epoch's submissions, best first, those that do not compete last; equal scores share a rank."""
    competing = formulas.get_ranking({j.tag: j.score for j in judgements if j.is_ranked() and j.score is not None})
    ranks: dict[bytes, int] = {}
    for tied in competing:
        ranks.update(dict.fromkeys(tied, len(ranks) + 1))
    ordered = sorted(judgements, key=lambda j: (j.tag not in ranks, ranks.get(j.tag, 0), j.submission.order))
    return tuple(
        Ranked(
            tag=j.tag,
            author=j.submission.author,
            verdict=j.verdict,
            score=None if j.score is None else scaled(j.score, scale=1),
            rank=ranks.get(j.tag, 0),
            share=scaled(shares.get(j.submission.author or b"", Decimal(0)), scale=MILLION),
            ignored=j.ignored,
            overruled=j.overruled,
            duplicate_of=j.duplicate_of,
            reward_a=paid_a.get(j.submission.author or b"", NOTHING).total(),
            reward_b=paid_b.get(j.submission.author or b"", NOTHING).total(),
        )
        for j in ordered
    )


# --- validators ------------------------------------------------------------------------------------------------------


def pay_validators(
    state: Overlay,
    context: Context,
    task: Task,
    judgements: list[Judgement],
    stakes: Mapping[bytes, int],
    pot: int,
) -> dict[bytes, Paid]:
    """Pay validators by how near they were to the consensus (A8 to A10); returns units by account."""
    shares = {
        judgement.tag: formulas.validator_shares(
            judgement.kept,
            consensus=judgement.score,
            stakes=stakes,
            sensitivity=context.params.distance_sensitivity,
            stake_exponent_millionths=context.params.validator_stake_exponent_millionths,
        )
        for judgement in judgements
        if judgement.score is not None
    }
    totals = formulas.validator_totals(shares, rewarded_count=task.spec.settings.rewarded_validators)
    earned: dict[bytes, Paid] = {}
    for address, units in split_by_key(pot, totals).items():
        paid = earned[address] = pay_reward(state, task, address, units)
        member = require_member(state, task, address)
        validating, passed_on = member.earned_validating + paid.own, member.passed_on + paid.passed_on
        put_member(state, task.id, address, replace(member, earned_validating=validating, passed_on=passed_on))
    return earned


def slash_idle(
    state: Overlay, context: Context, task: Task, epoch: Epoch, judgements: list[Judgement]
) -> dict[bytes, int]:
    """Slash every drawn validator that was absent or overruled, once for the epoch; returns units by account.

    Whoever calls a model invalid that it could run saved itself the work as much as one who never came.
    """
    overruled = {validator for judgement in judgements for validator in judgement.overruled}
    idle = sorted({*find_absent(state, task, epoch), *overruled})
    part = context.params.absence_slash_millionths
    return {address: slash_stake(state, context, task, address, part, epoch=task.epoch) for address in idle}


def find_absent(state: StateView, task: Task, epoch: Epoch) -> list[bytes]:
    """Return the drawn validators that had a chance to score, and revealed nothing."""
    if not scan_opened(state, task.id, task.epoch):
        return []
    sheets = {juror.address: get_sheet(state, task.id, task.epoch, juror.address) for juror in epoch.jurors_with_key()}
    return [address for address, sheet in sheets.items() if sheet is None or sheet.entries is None]


# --- slashes and leftovers -------------------------------------------------------------------------------------------


def slash(state: Overlay, context: Context, task: Task, purse: bytes, slash_millionths: int) -> int:
    """Take a part of a bond: some of it burned, the rest for the task's coming epochs; returns the units taken.

    After its last epoch there are none: then the treasury has it.
    """
    taken = fees.slash_amount(purses.get_units(state, purse), slash_millionths=slash_millionths)
    pot = purses.TREASURY if task.phase in CLOSED_PHASES else purses.pot_of(task.id)
    charges.slash(state, context.params, purse, taken, to=pot)
    return taken


def slash_stake(
    state: Overlay, context: Context, task: Task, address: bytes, slash_millionths: int, *, epoch: int
) -> int:
    """Take the same part of all that stands for what an operator did in an epoch; returns the units taken."""
    bonds = find_bonds(state, task, address, epoch=epoch)
    taken = sum(slash(state, context, task, purse, slash_millionths) for purse in bonds)
    vaults.write_off(state, task.id, address)
    return taken


def find_bonds(state: StateView, task: Task, address: bytes, *, epoch: int) -> list[bytes]:
    """Return the purses that stand for what an operator did in an epoch: its own and what is delegated to it.

    Also what has left since and still unbonds, but nothing that had left before the epoch began.
    """
    stake = purses.stake_of(task.id, address)
    return [stake, purses.vault_of(task.id, address), *purses.find_unbonding(state, stake, number=epoch)]


def slash_creator(state: Overlay, context: Context, task: Task) -> None:
    """Take the deposit of a creator that withheld an epoch's key."""
    slash(state, context, task, purses.deposit_of(task.id, task.creator), context.params.fraud_slash_millionths)


def forfeit_deposits(state: Overlay, context: Context, task: Task, epoch: Epoch) -> None:
    """Take the seat deposit of every seated trainer that did not claim a submission."""
    authors = find_authors(state, task)
    for seat in epoch.seats:
        if seat.address not in authors:
            slash(state, context, task, purses.deposit_of(task.id, seat.address), context.params.fraud_slash_millionths)


def require_member(state: StateView, task: Task, address: bytes) -> Member:
    """Return a member that froze into the epoch and so cannot be gone."""
    member = get_member(state, task.id, address)
    assert member is not None, "a seat or a draw without a member"
    return member
