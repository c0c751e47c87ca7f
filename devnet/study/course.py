"""One course of an alliance with poisoners among its participants, round by round (white paper VI.B to VI.F).

Malicious proposers poison their updates, malicious voters turn their votes and scores around; all know nothing of each
other. Who is what in a round, votes, outcomes, weights, rewards and slashes are those of `protocol.formulas`, under the
settings that an alliance of the devnet's chain has by default.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal, get_args

from devnet.study.attacks import Attack, add_noise, flip_sign
from devnet.study.bank import SETTINGS, Bank
from devnet.study.learners import METRIC, Data, DataName, Learner
from flocknode.jobs import AggregationRule
from protocol.crypto import hash_parts, integer_bytes
from protocol.fixed import MILLION
from protocol.formulas.alliance import (
    accepts,
    aggregate_vote,
    aggregation_weights,
    agreement,
    count_roles,
    is_better,
    median_score,
    role_seed,
    vote,
)
from protocol.formulas.arena import draw

# "none": no votes, every aggregate is taken over and everybody is paid. The others are the alliance's attributions.
Defence = Literal["none", "aggregate", "per_proposal"]
DEFENCES: tuple[Defence, ...] = get_args(Defence)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a course is about; `malicious_percent` of the clients are."""

    dataset: DataName
    attack: Attack
    malicious_percent: int
    defence: Defence
    rule: AggregationRule
    clients: int
    rounds: int
    seed: int

    @property
    def malicious(self) -> int:
        """How many clients poison."""
        return self.clients * self.malicious_percent // 100

    def describe(self) -> str:
        """Return it in a few words."""
        return f"{self.dataset} {self.attack} {self.malicious_percent} % {self.defence} {self.rule}"


@dataclass(frozen=True, kw_only=True)
class Round:
    """How things stand after a round: the global model's accuracy on rows that nobody has, mean stakes in units."""

    number: int
    accuracy_millionths: int
    honest_units: int
    malicious_units: int
    honest_expelled: int
    malicious_expelled: int
    is_accepted: bool
    drift_units: int


@dataclass(frozen=True)
class Roles:
    """Who trains and who votes in a round."""

    proposers: tuple[bytes, ...]
    voters: tuple[bytes, ...]


@dataclass(frozen=True)
class Ballot:
    """What a voter says about some models: a vote on each, and the score that it tells."""

    votes: tuple[int, ...]
    scores: tuple[int, ...]


class Course:
    """The state of one course; files lie in `folder`."""

    def __init__(self, learner: Learner, data: Data, setting: Setting, folder: Path) -> None:
        self._learner, self._setting, self._folder = learner, setting, folder
        addresses = tuple(hash_parts("study/client", integer_bytes(number)) for number in range(setting.clients))
        self._clients = dict(zip(addresses, data.clients, strict=True))
        self._test, self._start = data.test, data.start
        self._malicious = frozenset(Random(setting.seed).sample(sorted(addresses), setting.malicious))
        self._bank = Bank(addresses, rounds=setting.rounds)
        self._model, self._best, self._candidate = folder / "model", folder / "best", folder / "candidate"
        self._best_score: int | None = None

    async def play(self, tell: Callable[[int], None]) -> tuple[Round, ...]:
        """Play all rounds and return how each of them ended; ends early when too few are left for all roles."""
        for path in (self._model, self._best):
            path.write_bytes(self._start.read_bytes())
        rounds: list[Round] = []
        for number in range(self._setting.rounds):
            roles = self._draw_roles(number)
            if roles is None:
                break
            is_accepted = await self._play_round(number, roles)
            if not is_accepted:
                self._model.write_bytes(self._best.read_bytes())
            rounds.append(await self._note(number, is_accepted))
            tell(number + 1)
        return tuple(rounds)

    def _draw_roles(self, number: int) -> Roles | None:
        candidates = self._bank.get_candidates()
        counts = count_roles(
            len(candidates),
            proposer_share_millionths=SETTINGS.proposer_share_millionths,
            voter_share_millionths=SETTINGS.voter_share_millionths,
        )
        if counts.proposers == 0:
            return None
        seed = role_seed(hash_parts("study/beacon", integer_bytes(self._setting.seed)), alliance=0, round=number)
        drawn = draw(seed, weights=dict.fromkeys(candidates, 1), count=counts.proposers + counts.voters)
        return Roles(tuple(sorted(drawn[: counts.proposers])), tuple(sorted(drawn[counts.proposers :])))

    async def _play_round(self, number: int, roles: Roles) -> bool:
        updates = {address: await self._train(number, address) for address in roles.proposers}
        match self._setting.defence:
            case "none":
                await self._aggregate(updates)
                self._bank.settle(dict.fromkeys((*roles.proposers, *roles.voters), MILLION))
                self._candidate.replace(self._model)
                return True
            case "aggregate":
                return await self._vote_on_aggregate(roles, updates)
            case "per_proposal":
                return await self._vote_on_updates(roles, updates)

    async def _vote_on_aggregate(self, roles: Roles, updates: Mapping[bytes, Path]) -> bool:
        """Vote once, on what all updates come to; proposers share the outcome."""
        await self._aggregate(updates)
        ballots = await self._judge(roles.voters, [self._candidate])
        outcome = count_votes(ballots)[0]
        merits = dict.fromkeys(roles.proposers, MILLION if accepts(outcome) else 0)
        self._bank.settle(merits | {voter: agreement(ballots[voter].votes, [outcome]) for voter in roles.voters})
        return accepts(outcome) and self._take_over(ballots)

    async def _vote_on_updates(self, roles: Roles, updates: Mapping[bytes, Path]) -> bool:
        """Vote on each update, whose outcome its proposer bears alone; then on what the accepted ones come to."""
        ballots = await self._judge(roles.voters, list(updates.values()))
        outcomes = dict(zip(updates, count_votes(ballots), strict=True))
        merits = {proposer: MILLION if accepts(outcome) else 0 for proposer, outcome in outcomes.items()}
        counted = list(outcomes.values())
        self._bank.settle(merits | {voter: agreement(ballots[voter].votes, counted) for voter in roles.voters})
        accepted = {proposer: updates[proposer] for proposer in updates if accepts(outcomes[proposer])}
        if not accepted:
            return False
        await self._aggregate(accepted)
        confirmed = await self._judge(roles.voters, [self._candidate])
        return accepts(count_votes(confirmed)[0]) and self._take_over(confirmed)

    async def _train(self, number: int, address: bytes) -> Path:
        """Return the update of a proposer, poisoned if it is malicious."""
        client, attack = self._clients[address], self._setting.attack
        is_malicious = address in self._malicious
        update = self._folder / f"update-{address.hex()[:16]}"
        data = client.flipped if is_malicious and attack == "label-flip" else client.train
        seed = self._derive_seed(number, address)
        await self._learner.train(data, start=self._model, output=update, seed=seed)
        if is_malicious and attack == "sign-flip":
            flip_sign(self._model, update)
        if is_malicious and attack == "noise":
            add_noise(update, seed)
        return update

    async def _aggregate(self, updates: Mapping[bytes, Path]) -> None:
        weights = aggregation_weights({address: self._clients[address].rows for address in updates})
        listed = [(updates[address], weights[address]) for address in sorted(updates)]
        faulty = len(updates) * SETTINGS.faulty_millionths // MILLION
        await self._learner.aggregate(listed, rule=self._setting.rule, faulty=faulty, output=self._candidate)

    async def _judge(self, voters: Sequence[bytes], models: Sequence[Path]) -> dict[bytes, Ballot]:
        """Return what each voter says about models, beside the best one so far, on its own rows."""
        ballots = {}
        for voter in voters:
            best, *scores = await self._learner.score(self._clients[voter].test, [self._best, *models])
            votes = [
                vote(
                    score,
                    best=best,
                    higher_is_better=METRIC.higher_is_better,
                    tolerance_millionths=SETTINGS.tolerance_millionths,
                    floor_millionths=SETTINGS.score_floor_millionths,
                )
                for score in scores
            ]
            if voter in self._malicious:
                votes, scores = [-one for one in votes], [MILLION - score for score in scores]
            ballots[voter] = Ballot(tuple(votes), tuple(scores))
        return ballots

    def _take_over(self, ballots: Mapping[bytes, Ballot]) -> bool:
        """Make the candidate the global model, and the best one if the voters' median says so."""
        self._candidate.replace(self._model)
        score = median_score([ballot.scores[0] for ballot in ballots.values()])
        if is_better(score, self._best_score, higher_is_better=METRIC.higher_is_better):
            self._best_score = score
            self._best.write_bytes(self._model.read_bytes())
        return True

    async def _note(self, number: int, is_accepted: bool) -> Round:
        honest = tuple(address for address in self._clients if address not in self._malicious)
        candidates = set(self._bank.get_candidates())
        return Round(
            number=number,
            accuracy_millionths=(await self._learner.score(self._test, [self._model]))[0],
            honest_units=self._bank.get_mean(honest),
            malicious_units=self._bank.get_mean(tuple(self._malicious)),
            honest_expelled=len(set(honest) - candidates),
            malicious_expelled=len(self._malicious - candidates),
            is_accepted=is_accepted,
            drift_units=self._bank.drift,
        )

    def _derive_seed(self, number: int, address: bytes) -> int:
        digest = hash_parts("study/seed", integer_bytes(self._setting.seed), integer_bytes(number), address)
        return int.from_bytes(digest[:4], "big")


def count_votes(ballots: Mapping[bytes, Ballot]) -> list[int]:
    """Return the sum of the votes on each model (L3)."""
    return [aggregate_vote(votes) for votes in zip(*(ballot.votes for ballot in ballots.values()), strict=True)]
