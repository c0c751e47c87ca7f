"""Where every unit of a payout comes from: the settlement of an epoch replayed from what the log keeps of it.

Pure: state in, traces out. A trace that does not come to what was paid is a bug here or there, and so an assertion.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from msgspec.structs import replace

from protocol.crypto import integer_bytes
from protocol.errors import NotFound
from protocol.fixed import split, split_by_key
from protocol.formulas import arena as formulas
from protocol.params import Params
from protocol.rules.arena.judging import Judgement, judge
from protocol.rules.arena.records import Task, get_epoch, get_member, get_task, scan_opened, scan_sheets
from protocol.rules.arena.results import RESULTS, EpochResult, Ranked, Sources
from protocol.rules.arena.settlement import add_earlier_weights, find_authors, find_ranks_for_b, was_judged
from protocol.rules.arena.sources import divide_by_source
from protocol.rules.traces import Origins, Step
from protocol.state import StateView
from protocol.transactions import Verdict


class Kind(Enum):
    """What an account was paid for."""

    REWARD_A = "reward a"
    REWARD_B = "reward b"
    VALIDATING = "validating"
    CREATING = "creating"


@dataclass(frozen=True, kw_only=True)
class Vote:
    """What a validator said of a submission, the stake behind it, and whether it counted."""

    tag: bytes
    validator: bytes
    stake: int
    verdict: Verdict
    score: int
    is_counted: bool


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One payout: `own` to the account's balance and `passed_on` to its delegators add up to `units`, as origins do."""

    task: int
    epoch: int
    account: bytes
    kind: Kind
    units: int
    passed_on: int
    origins: Origins
    steps: tuple[Step, ...]
    votes: tuple[Vote, ...]

    @property
    def own(self) -> int:
        """What the account got itself."""
        return self.units - self.passed_on


@dataclass(frozen=True)
class Replay:
    """A settled epoch with what its replay needs: results, counted stakes, and the judgements of its submissions."""

    state: StateView
    params: Params
    task: Task
    result: EpochResult
    stakes: Mapping[bytes, int]
    judgements: Mapping[bytes, Judgement]

    @property
    def epoch(self) -> int:
        """Its number."""
        return self.task.epoch

    @property
    def trainers_pot(self) -> int:
        """What the trainers could share."""
        return self.result.own_pots.trainers + self.result.emitted_pots.trainers

    @property
    def validators_pot(self) -> int:
        """What the validators could share."""
        return self.result.own_pots.validators + self.result.emitted_pots.validators

    def passed_on(self, account: bytes) -> tuple[int, int, int]:
        """Return what an operator's delegators got of its reward A, its reward B, and for validating."""
        for entry in self.result.passed_on:
            if entry.operator == account:
                return entry.reward_a, entry.reward_b, entry.validating
        return 0, 0, 0


def explain_epoch(state: StateView, params: Params, task: int, epoch: int) -> list[Trace]:
    """Return the trace of every payout of a settled epoch; raises `NotFound`."""
    replay = load_replay(state, params, get_task(state, task), epoch)
    traces = [*trace_creator(replay), *trace_reward_a(replay), *trace_validating(replay)]
    if replay.result.dataset_b:
        traces.extend(trace_reward_b(replay))
    return traces


def load_replay(state: StateView, params: Params, task: Task, epoch: int) -> Replay:
    """Return a settled epoch as its settlement saw it; raises `NotFound`."""
    result = RESULTS.get(state, integer_bytes(task.id), integer_bytes(epoch))
    if result is None:
        raise NotFound(f"epoch {epoch} of task {task.id} is not settled", task=task.id, epoch=epoch)
    then = replace(task, epoch=epoch)
    stakes = {counted.address: counted.stake for counted in result.stakes}
    sheets = {
        validator: {entry.tag: entry for entry in sheet.entries}
        for validator, sheet in scan_sheets(state, task.id, epoch)
        if sheet.entries is not None
    }
    jurors = {juror.address: stakes[juror.address] for juror in get_epoch(state, task.id, epoch).drawn}
    judgements = {
        tag: judge(then, tag, submission, {v: entries[tag] for v, entries in sheets.items()}, jurors, params)
        for tag, submission in scan_opened(state, task.id, epoch)
    }
    return Replay(state, params, then, result, stakes, judgements)


# --- trainers --------------------------------------------------------------------------------------------------------


def get_weights(replay: Replay) -> dict[bytes, Decimal]:
    """Return the rank weights (A5) that the epoch was paid by."""
    if was_judged(replay.judgements.values()):
        return {weight.address: Decimal(weight.weight) for weight in replay.result.weights}
    if not get_epoch(replay.state, replay.task.id, replay.epoch).drawn:
        return {}
    earlier = add_earlier_weights(replay.state, replay.task) if replay.task.is_last_epoch() else {}
    return earlier or {author: Decimal(1) for author in find_authors(replay.state, replay.task)}


def get_shares(replay: Replay, weights: Mapping[bytes, Decimal], stakes: Mapping[bytes, int]) -> dict[bytes, Decimal]:
    """Return the shares (A6) that weights and stakes make."""
    return formulas.training_shares(
        {address: weight for address, weight in weights.items() if address in stakes},
        stakes=stakes,
        stake_exponent_millionths=replay.params.trainer_stake_exponent_millionths,
    )


def get_seat_stakes(replay: Replay) -> dict[bytes, int]:
    """Return the stakes that the epoch's trainers counted with."""
    seats = get_epoch(replay.state, replay.task.id, replay.epoch).seats
    return {seat.address: replay.stakes[seat.address] for seat in seats}


def trace_reward_a(replay: Replay) -> Iterator[Trace]:
    """Yield the payouts of reward A."""
    weights, stakes = get_weights(replay), get_seat_stakes(replay)
    shares = get_shares(replay, weights, stakes)
    if not shares:
        return
    reward_a, _ = formulas.reward_a_and_b(
        replay.trainers_pot, reward_a_millionths=replay.task.spec.settings.reward_a_millionths
    )
    for account, units in split_by_key(reward_a, shares).items():
        ranked = find_ranked(replay, account)
        assert ranked is None or ranked.reward_a == units, "reward A was another"
        steps = (
            *pot_steps(replay, "trainers", replay.trainers_pot),
            Step(tag="A14", what="reward A of this epoch", units=reward_a),
            *rank_steps(ranked),
            Step(tag="A5", what="rank weight", number=str(weights[account])),
            Step(tag="A6", what="stake, delegation included", units=stakes[account]),
            Step(tag="A6", what="share of the trainers", number=str(shares[account])),
        )
        origins = find_origins(units, replay.result.emitted_pots.trainers, replay.trainers_pot, replay.result.sources)
        yield make_trace(replay, account, Kind.REWARD_A, units, origins, steps, votes_on(replay, ranked))


def trace_reward_b(replay: Replay) -> Iterator[Trace]:
    """Yield the payouts of reward B, which accrued in all epochs and was paid in this one, the last."""
    is_judged = was_judged(replay.judgements.values())
    ranks = find_ranks_for_b(replay.state, replay.task, get_weights(replay), is_judged=is_judged)
    vested = {}
    for account in sorted(ranks):
        member = get_member(replay.state, replay.task.id, account)
        if member is not None:
            vested[account] = formulas.vested_stake(
                int.from_bytes(member.stake_sum, "big"),
                claimed_epochs=member.epochs_claimed,
                epochs=replay.task.spec.epochs,
            )
    shares = get_shares(replay, ranks, vested)
    accrued = list_accrued(replay)
    pot = sum(part.total() for part in accrued)
    for account, units in split_by_key(pot, shares).items():
        ranked, paid = find_ranked(replay, account), count_paid_b(replay, account)
        assert paid <= units, "a trainer was paid more than its share"
        steps = (
            Step(tag="A15", what="reward B of all epochs", units=pot),
            *rank_steps(ranked),
            Step(tag="A5", what="rank weight on dataset B", number=str(ranks[account])),
            Step(tag="A15", what="mean stake times the part of epochs with a claim", units=vested[account]),
            Step(tag="A6", what="share of the trainers", number=str(shares[account])),
            *([Step(tag="A11", what="for delegators that left: unpaid", units=units - paid)] if paid < units else []),
        )
        origins = merge_origins(paid, accrued)
        yield make_trace(replay, account, Kind.REWARD_B, paid, origins, steps, votes_on(replay, ranked))


def count_paid_b(replay: Replay, account: bytes) -> int:
    """Return what an account and its delegators got of reward B: what those would have got that left, nobody gets."""
    member = get_member(replay.state, replay.task.id, account)
    assert member is not None, "a reward of nobody"
    return member.earned_b + replay.passed_on(account)[1]


def list_accrued(replay: Replay) -> list[Origins]:
    """Return what of each epoch's trainers' pot was left for reward B, by origin."""
    accrued = []
    for number in range(replay.epoch + 1):
        past = load_replay(replay.state, replay.params, replay.task, number)
        if not get_shares(past, get_weights(past), get_seat_stakes(past)):
            continue
        _, reward_b = formulas.reward_a_and_b(
            past.trainers_pot, reward_a_millionths=past.task.spec.settings.reward_a_millionths
        )
        accrued.append(
            find_origins(reward_b, past.result.emitted_pots.trainers, past.trainers_pot, past.result.sources)
        )
    return accrued


def find_ranked(replay: Replay, account: bytes) -> Ranked | None:
    """Return the place of an account's submission, if it had one in the epoch."""
    return next((entry for entry in replay.result.ranking if entry.author == account), None)


def rank_steps(ranked: Ranked | None) -> Iterator[Step]:
    """Yield the rank of a submission and the score that it came by."""
    if ranked is not None and ranked.score is not None:
        yield Step(tag="A4", what="consensus score in millionths", number=str(ranked.score))
        yield Step(tag="A5", what="rank", number=str(ranked.rank) if ranked.rank else "none")


def votes_on(replay: Replay, ranked: Ranked | None) -> tuple[Vote, ...]:
    """Return what was said of a submission."""
    return () if ranked is None else tuple(list_votes(replay, ranked.tag))


def list_votes(replay: Replay, tag: bytes, only: bytes | None = None) -> Iterator[Vote]:
    """Yield what validators, or one of them, said of a submission, and whether it counted (O1, O2)."""
    judgement = replay.judgements[tag]
    for validator, sheet in scan_sheets(replay.state, replay.task.id, replay.epoch):
        entry = next((entry for entry in sheet.entries or () if entry.tag == tag), None)
        if entry is None or only not in (None, validator):
            continue
        yield Vote(
            tag=tag,
            validator=validator,
            stake=replay.stakes[validator],
            verdict=entry.verdict,
            score=entry.score,
            is_counted=validator in judgement.kept,
        )


# --- validators and the creator --------------------------------------------------------------------------------------


def trace_validating(replay: Replay) -> Iterator[Trace]:
    """Yield what the epoch's validators were paid."""
    shares = {
        tag: formulas.validator_shares(
            judgement.kept,
            consensus=judgement.score,
            stakes=replay.stakes,
            sensitivity=replay.params.distance_sensitivity,
            stake_exponent_millionths=replay.params.validator_stake_exponent_millionths,
        )
        for tag, judgement in replay.judgements.items()
        if judgement.score is not None
    }
    totals = formulas.validator_totals(shares, rewarded_count=replay.task.spec.settings.rewarded_validators)
    earned = {payout.address: payout.earned for payout in replay.result.validators}
    for account, units in split_by_key(replay.validators_pot, totals).items():
        assert earned[account] == units, "a validator was paid something else"
        counted = [tag for tag in sorted(shares) if account in shares[tag]]
        steps = (
            *pot_steps(replay, "validators", replay.validators_pot),
            Step(tag="A9", what="stake, delegation included", units=replay.stakes[account]),
            *(Step(tag="A9", what=f"share for {tag.hex()[:8]}", number=str(shares[tag][account])) for tag in counted),
            Step(tag="A10", what="shares added up", number=str(totals[account])),
        )
        votes = tuple(vote for tag in sorted(shares) for vote in list_votes(replay, tag, only=account))
        origins = find_origins(
            units, replay.result.emitted_pots.validators, replay.validators_pot, replay.result.sources
        )
        yield make_trace(replay, account, Kind.VALIDATING, units, origins, steps, votes)


def trace_creator(replay: Replay) -> Iterator[Trace]:
    """Yield what the creator was paid, if it was."""
    result = replay.result
    if not result.creator_reward:
        return
    pot = result.own_pots.creator + result.emitted_pots.creator
    origins = find_origins(result.creator_reward, result.emitted_pots.creator, pot, result.sources)
    steps = tuple(pot_steps(replay, "creator", pot))
    yield make_trace(replay, replay.task.creator, Kind.CREATING, result.creator_reward, origins, steps, ())


# --- parts of the above ----------------------------------------------------------------------------------------------


def pot_steps(replay: Replay, role: str, units: int) -> Iterator[Step]:
    """Yield the epoch's pot and a role's part of it."""
    yield Step(tag="IV.A", what="pot of the epoch", units=replay.result.pot)
    yield Step(tag="IV.A", what="of it emission (E1 to E3)", units=replay.result.emitted)
    yield Step(tag="IV.A.1", what=f"the {role}' part" if role.endswith("s") else f"the {role}'s part", units=units)


def make_trace(
    replay: Replay,
    account: bytes,
    kind: Kind,
    units: int,
    origins: Origins,
    steps: tuple[Step, ...],
    votes: tuple[Vote, ...],
) -> Trace:
    """Return a payout with its parts, which must add up to it."""
    assert origins.total() == units, "the origins do not add up"
    reward_a, reward_b, validating = replay.passed_on(account)
    passed_on = {Kind.REWARD_A: reward_a, Kind.REWARD_B: reward_b, Kind.VALIDATING: validating}.get(kind, 0)
    if passed_on:
        tag = "A13" if kind is Kind.VALIDATING else "A11"
        steps = (*steps, Step(tag=tag, what="of it the delegators' part", units=passed_on))
    return Trace(
        task=replay.task.id,
        epoch=replay.epoch,
        account=account,
        kind=kind,
        units=units,
        passed_on=passed_on,
        origins=origins,
        steps=steps,
        votes=votes,
    )


def find_origins(units: int, emitted: int, pot: int, sources: Sources) -> Origins:
    """Return where units of a pot come from: emission or the task's own money first, then whose that was."""
    own, minted = split(units, (pot - emitted, emitted), (b"own", b"emission")) if pot else (0, 0)
    parts = divide_by_source(own, sources)
    return Origins(emission=minted, escrow=parts.escrow, bounties=parts.bounties, slashes=parts.slashes)


def merge_origins(units: int, accrued: list[Origins]) -> Origins:
    """Return where units of what accrued over epochs come from."""
    weights = [sum(part) for part in zip(*map(list_parts, accrued), strict=True)] if accrued else [0]
    if not any(weights):
        return Origins(emission=0, escrow=0, bounties=0, slashes=0)
    emission, escrow, bounties, slashes = split(units, weights, [bytes([index]) for index in range(len(weights))])
    return Origins(emission=emission, escrow=escrow, bounties=bounties, slashes=slashes)


def list_parts(origins: Origins) -> tuple[int, int, int, int]:
    """Return the units in the order of the fields."""
    return origins.emission, origins.escrow, origins.bounties, origins.slashes
