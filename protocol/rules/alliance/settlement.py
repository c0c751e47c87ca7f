"""What a round pays and costs (Algorithm 2), and what is left at the end.

Every amount comes from the round's snapshot of stakes and from the pool as it was; rewards go into the stakes, so that
balances compound as Bal_k does. What goes unpaid stays in the pool.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from protocol.alliance_settings import RewardRule
from protocol.crypto import integer_bytes
from protocol.fixed import split_by_key
from protocol.formulas import alliance as formulas
from protocol.formulas import fees
from protocol.params import Params
from protocol.rules import charges, purses
from protocol.rules.alliance import pool
from protocol.rules.alliance.absence import find_absent
from protocol.rules.alliance.judging import Judgement, judge_round
from protocol.rules.alliance.past import with_model
from protocol.rules.alliance.records import (
    Alliance,
    AllianceRound,
    get_participant,
    get_round,
    put_participant,
    scan_participants,
)
from protocol.rules.alliance.results import (
    CLOSINGS,
    ROUND_RESULTS,
    AllianceRole,
    Closing,
    Outcome,
    Remainder,
    RoundResult,
    Settled,
)
from protocol.rules.context import Context
from protocol.rules.jobs import Funding
from protocol.rules.standing import note_paid
from protocol.state import Overlay, StateView


def settle_round(state: Overlay, context: Context, alliance: Alliance) -> Alliance:
    """Judge, pay and slash the current round, and record all of it; returns the alliance with its new models."""
    current = get_round(state, alliance.id, alliance.round)
    judgement, absent = judge_round(state, alliance), find_absent(state, alliance, current)
    held, parts = purses.get_units(state, purses.pool_of(alliance.id)), pool.get_parts(state, alliance.id)
    reward = formulas.round_reward(held, rounds_left=alliance.rounds_left())
    stakes = count_stakes(state, alliance, current)
    settled = reckon(context.params, alliance, judgement, reward, stakes, absent, list_roles(current, judgement))
    pay(state, alliance, settled)
    take(state, context, alliance, settled)
    for one in settled:
        note_settled(state, alliance, judgement, one)
    poll = judgement.poll
    result = RoundResult(
        outcome=judgement.outcome,
        last_phase=alliance.phase,
        pool=held,
        parts=parts,
        reward=reward,
        model=judgement.model,
        score=None if poll is None else poll.score,
        in_favour=0 if poll is None else poll.count(1),
        against=0 if poll is None else poll.count(-1),
        updates=judgement.updates,
        settled=settled,
        settled_height=context.height,
    )
    ROUND_RESULTS.put(state, result, integer_bytes(alliance.id), integer_bytes(alliance.round))
    return with_model(alliance, result)


def count_stakes(state: StateView, alliance: Alliance, current: AllianceRound) -> dict[bytes, int]:
    """Return the stake each selected participant counts with: the lesser of those at the draw and now."""
    return {
        address: min(stake, purses.get_units(state, purses.alliance_stake_of(alliance.id, address)))
        for address, stake in current.stakes().items()
    }


def list_roles(current: AllianceRound, judgement: Judgement) -> dict[bytes, AllianceRole]:
    """Return the role of everybody that is settled, proposers first, then voters, each role by address."""
    drawn = sorted(one.address for one in (*current.proposers, *current.dropped))
    proposers = dict.fromkeys(drawn, AllianceRole.PROPOSER)
    voters = dict.fromkeys((one.address for one in current.voters), AllianceRole.VOTER)
    paid = set() if judgement.aggregator is None else {judgement.aggregator}
    return proposers | voters | dict.fromkeys(sorted(judgement.failed | paid), AllianceRole.AGGREGATOR)


def reckon(
    params: Params,
    alliance: Alliance,
    judgement: Judgement,
    reward: int,
    stakes: Mapping[bytes, int],
    absent: frozenset[bytes],
    roles: Mapping[bytes, AllianceRole],
) -> tuple[Settled, ...]:
    """Return what everybody selected earns and loses (L5), in the order of the roles; the aggregator's fee first."""
    fee = get_fee(params, judgement, reward)
    counted = {
        address: stakes[address]
        for address, role in roles.items()
        if role is not AllianceRole.AGGREGATOR or address in judgement.merits
    }
    absent = absent | judgement.failed
    rewards, losses = formulas.reward_and_slash(
        reward - fee,
        stakes=counted,
        merits=judgement.merits,
        slash_millionths=alliance.spec.settings.slash_millionths,
    )
    earned = {address: units for address, units in rewards.items() if address not in absent}
    if judgement.gains:
        earned |= share_gains(alliance, judgement, earned, stakes)
    if judgement.aggregator is not None:
        earned[judgement.aggregator] = fee
    lost = {
        address: formulas.absence_loss(
            fees.slash_amount(stakes[address], slash_millionths=params.absence_slash_millionths),
            verdict_units=losses.get(address, 0),
        )
        for address in absent
    }
    return tuple(
        Settled(
            address=address,
            role=role,
            stake=stakes[address],
            merit=judgement.merits.get(address, 0),
            is_absent=address in absent,
            earned=earned.get(address, 0),
            slashed=lost.get(address, losses.get(address, 0)),
        )
        for address, role in roles.items()
    )


def get_fee(params: Params, judgement: Judgement, reward: int) -> int:
    """Return what the aggregator earns of a round's reward, in units: nothing where there is none, or it failed."""
    if judgement.aggregator is None:
        return 0
    return formulas.aggregator_fee(reward, fee_millionths=params.alliance.aggregator_fee_millionths)


def share_gains(
    alliance: Alliance, judgement: Judgement, earned: Mapping[bytes, int], stakes: Mapping[bytes, int]
) -> dict[bytes, int]:
    """Return what accepted proposers earn where rewards go by impact."""
    assert alliance.spec.settings.reward is RewardRule.IMPACT, "gains that nobody asked for"
    accepted = {address: earned[address] for address in judgement.gains}
    return formulas.share_by_impact(accepted, stakes=stakes, gains=judgement.gains)


def pay(state: Overlay, alliance: Alliance, settled: tuple[Settled, ...]) -> None:
    """Move what was earned from the pool into the stakes."""
    for one in settled:
        stake = purses.alliance_stake_of(alliance.id, one.address)
        purses.move(state, purses.pool_of(alliance.id), stake, one.earned)
        if one.earned and alliance.funding is Funding.VERIFIED:
            note_paid(state, one.address)
    pool.note_payments(state, alliance.id)


def take(state: Overlay, context: Context, alliance: Alliance, settled: tuple[Settled, ...]) -> None:
    """Slash stakes: a part is burned, the rest is the pool's."""
    for one in settled:
        stake = purses.alliance_stake_of(alliance.id, one.address)
        kept = charges.slash(state, context.params, stake, one.slashed, to=purses.pool_of(alliance.id))
        pool.note_income(state, alliance.id, slashes=kept)


def note_settled(state: Overlay, alliance: Alliance, judgement: Judgement, one: Settled) -> None:
    """Count what a participant earned and lost, and the round if it was accepted and the participant right in it."""
    participant = get_participant(state, alliance.id, one.address)
    assert participant is not None, "a role without a participant"
    is_counted = judgement.outcome is Outcome.ACCEPTED and one.merit > 0 and not one.is_absent
    counted = replace(
        participant,
        accepted_rounds=participant.accepted_rounds + is_counted,
        earned=participant.earned + one.earned,
        slashed=participant.slashed + one.slashed,
    )
    put_participant(state, alliance.id, one.address, counted)


# --- the end ---------------------------------------------------------------------------------------------------------


def pay_remainder(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Divide what is left in the pool over the accepted rounds, by stake times rounds; record who got what.

    What nobody has a claim to leaves as `pool.close_pool` says.
    """
    members = {address: member for address, member in scan_participants(state, alliance.id) if not member.is_out}
    stakes = {address: purses.get_units(state, purses.alliance_stake_of(alliance.id, address)) for address in members}
    rounds = {address: member.accepted_rounds for address, member in members.items()}
    held, parts = purses.get_units(state, purses.pool_of(alliance.id)), pool.get_parts(state, alliance.id)
    parts_of = split_by_key(held, formulas.remainder_weights(stakes, rounds=rounds))
    paid = {address: units for address, units in parts_of.items() if units}
    for address, units in paid.items():
        stake = purses.alliance_stake_of(alliance.id, address)
        purses.move(state, purses.pool_of(alliance.id), stake, units)
        member = members[address]
        put_participant(state, alliance.id, address, replace(member, earned=member.earned + units))
    pool.note_payments(state, alliance.id)
    pool.close_pool(state, alliance.id)
    remainders = tuple(
        Remainder(address=address, stake=stakes[address], rounds=rounds[address], units=units)
        for address, units in paid.items()
    )
    closing = Closing(pool=held, parts=parts, paid=remainders, height=context.height)
    CLOSINGS.put(state, closing, integer_bytes(alliance.id))
