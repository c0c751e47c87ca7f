"""Scenarios in which somebody wants more than its due: what it gets, beside what honest accounts get.

Each returns a report with a promise that must hold. `size` scales how many accounts attack.
"""

import dataclasses

from msgspec.structs import replace

from devnet.economy.actors import FML, SCORE_ONE, Trainer, Validator, spread_of
from devnet.economy.market import CONSTANT_SCORE, RANDOM_SCORE
from devnet.economy.outcome import Line
from devnet.economy.report import Check, Report
from devnet.economy.stage import QUALITY_STEP, Played, honest_trainers, honest_validators, play_market
from protocol.params import DEVNET, Aggregation

# Fewer than are paid.
FEW_TRAINERS = 3
# In FML of stake each; so that a split stake is the same in all.
IDENTITY_STAKE = DEVNET.min_stake_trainer_units
# A validator's guess is worth at most this part of an honest judgement, for the same stake.
GUESS_PART = 0.1
# The outlier rule's factor on the median distance, with its factor for normal distributions.
OUTLIER_FACTOR = 4.4478


def renamed(line: Line, group: str) -> Line:
    """Return a line under another name, to set beside those of other runs."""
    return Line(**{**line.__dict__, "group": group})


def fml(units: int) -> str:
    """Return an amount for a sentence."""
    return f"{units / FML:,.2f} FML"


def sybil(size: int, seed: int) -> Report:
    """One stake as one account, and split over many identities: with one model, with one hardly changed, with many."""
    params = replace(DEVNET, max_trainer_members=max(DEVNET.max_trainer_members, size + 10))
    quality, stake, name = 912_000, size * IDENTITY_STAKE, "attacker"

    def attack(identities: int, *, clones: str | None = None, near: str | None = None) -> Played:
        first = Trainer(name="sybil 0", group=name, stake=stake // identities, quality_a=quality, quality_b=quality)
        sybils = [
            first,
            *(
                dataclasses.replace(first, name=f"sybil {number}", clones=clones, near=near)
                for number in range(1, identities)
            ),
        ]
        return play_market([*honest_trainers(5), *sybils], honest_validators(5), params=params, seed=seed)

    cloned, altered = attack(size, clones="sybil 0"), attack(size, near="sybil 0")
    one, many = attack(1).line(name), attack(size).line(name)
    same, near = cloned.line(name), altered.line(name)
    gain = many.earned / max(1, one.earned)
    return Report(
        scenario="sybil",
        conditions=f"{fml(stake)} as one trainer or as {size} identities, beside 5 honest trainers with 100 FML each",
        lines=(
            renamed(one, "one account"),
            renamed(same, "identities, one model"),
            renamed(near, "identities, one model altered"),
            renamed(many, "identities, a model each"),
        ),
        checks=(
            Check(
                "splitting pays nothing with one model",
                f"net {fml(same.net)} as identities, {fml(one.net)} as one",
                same.net < one.net,
            ),
            Check(
                "altering it a little does not help",
                f"net {fml(near.net)} as identities, {fml(one.net)} as one",
                near.net < one.net,
            ),
            Check(
                "a model has one rank an epoch, however many enter it",
                f"at most {count_ranked(cloned, name)} of {size}",
                count_ranked(cloned, name) <= 1,
            ),
        ),
        remarks=(f"identities that each bring a good model of their own earn {gain:.2f} times as much as one account",),
    )


def count_ranked(played: Played, group: str) -> int:
    """Return how many trainers of a group had a rank in one epoch, at most."""
    tags = {tag for tag, author in played.market.authors.items() if author.group == group}
    return max(sum(entry.rank > 0 for entry in result.ranking if entry.tag in tags) for result in played.results)


def freerider_trainers(size: int, seed: int) -> Report:
    """Trainers that enter random models, beside as many honest ones as are paid, beside fewer, and beside none."""
    paid = DEVNET.task.rewarded_trainers

    def attack(honest: int, baseline: int = RANDOM_SCORE) -> Played:
        riders = [
            Trainer(
                name=f"rider {number}",
                group="free riders",
                quality_a=spread_of(RANDOM_SCORE, seed, "a", number),
                quality_b=spread_of(RANDOM_SCORE, seed, "b", number),
            )
            for number in range(size)
        ]
        cast = [*honest_trainers(honest), *riders]
        return play_market(cast, honest_validators(5), baseline=baseline, seed=seed)

    full, thin, alone = attack(paid), attack(FEW_TRAINERS), attack(0)
    lines = {
        f"free riders beside {paid} honest": full.line("free riders"),
        f"free riders beside {FEW_TRAINERS} honest": thin.line("free riders"),
        "free riders alone": alone.line("free riders"),
    }
    weak, none = (attack(FEW_TRAINERS, baseline).line("free riders") for baseline in (CONSTANT_SCORE, 0))
    return Report(
        scenario="freerider-trainers",
        conditions=f"{size} trainers enter random models, which score less than the baseline {score(RANDOM_SCORE)}; "
        f"{paid} ranks are paid",
        lines=(full.line("honest trainers"), *(renamed(line, name) for name, line in lines.items())),
        checks=(
            Check(
                "random models earn less than they cost, however few honest ones there are",
                "; ".join(f"{name}: earned {fml(line.earned)}, cost {fml(line.spent)}" for name, line in lines.items()),
                all(line.earned < line.spent for line in lines.values()),
            ),
            Check(
                "and honest trainers get what they left",
                f"{fml(thin.line('honest trainers').earned)} beside {FEW_TRAINERS}, "
                f"{fml(full.line('honest trainers').earned)} beside {paid}",
                abs(thin.line("honest trainers").earned - full.line("honest trainers").earned) < paid,
            ),
        ),
        remarks=(
            f"where the baseline is the commonest class's {score(CONSTANT_SCORE)}, which the luckiest pass, they "
            f"earn {fml(weak.earned)} beside {FEW_TRAINERS} honest ones, and {fml(none.earned)} where there is none: "
            "whoever creates a task of few samples raises it",
        ),
    )


def score(millionths: int) -> str:
    """Return a score for a sentence."""
    return f"{millionths / SCORE_ONE:.3f}"


def freerider_validators(size: int, seed: int) -> Report:
    """Validators that guess, and validators that copy the commitments of others, in the minority."""

    def guess(name: str) -> Validator:
        return Validator(
            name=name,
            group="guessing",
            opinion=lambda author, score, epoch: spread_of(SCORE_ONE, seed, name, author.name, epoch),
        )

    guessing = [guess(f"guessing {number}") for number in range(size)]
    copying = [
        Validator(name=f"copying {number}", group="copying commitments", copies_commitments=True)
        for number in range(size)
    ]
    params = replace(DEVNET, validators_per_epoch=min(64, 6 * size))
    played = play_market(
        honest_trainers(5), [*honest_validators(4 * size), *guessing, *copying], epochs=5, params=params, seed=seed
    )
    honest, guessed = played.line("honest validators"), played.line("guessing")
    copied = played.line("copying commitments")
    part = guessed.earned_per_stake / honest.earned_per_stake
    return Report(
        scenario="freerider-validators",
        conditions=f"{4 * size} honest validators, {size} that guess, {size} that copy what others committed to",
        lines=played.lines(),
        checks=(
            Check(
                f"guessing earns under {GUESS_PART:.0%} of judging, for the same stake",
                f"{part:.2%}",
                part < GUESS_PART,
            ),
            Check(
                "a copied commitment cannot be revealed: it earns nothing and is slashed",
                f"earned {fml(copied.earned)}, slashed {fml(copied.slashed)}",
                copied.earned == 0 and copied.slashed > 0,
            ),
        ),
    )


def lookup(size: int, seed: int) -> Report:
    """Trainers that fitted their models to a leaked dataset A; what they get for it, and what honesty would give."""

    def attack(quality_a: int, quality_b: int) -> Played:
        cheats = [
            Trainer(name=f"cheat {n}", group="fitted to A", quality_a=quality_a, quality_b=quality_b)
            for n in range(size)
        ]
        return play_market([*honest_trainers(5), *cheats], honest_validators(5), epochs=5, seed=seed)

    middle = 908_000
    cheated, fair = attack(990_000, 700_000), attack(middle, middle)
    cheats, honest = cheated.line("fitted to A"), cheated.line("honest trainers")
    alternative = fair.line("fitted to A")
    first_on_a = sum(
        any(cheated.ranked(t, epoch).rank == 1 for t in cheated.market.trainers if t.group == "fitted to A")
        for epoch in range(4)
    )
    return Report(
        scenario="lookup",
        conditions=f"{size} of {size + 5} trainers fit to dataset A, and are worse on B",
        lines=(*cheated.lines(), renamed(alternative, "the same accounts, honest")),
        checks=(
            Check("they lead on A", f"first in {first_on_a} of 4 epochs", first_on_a == 4),
            Check(
                "and lose by B: less than honest trainers for the same stake",
                f"{cheats.earned_per_stake:.4f} to {honest.earned_per_stake:.4f}",
                cheats.earned_per_stake < honest.earned_per_stake,
            ),
            Check(
                "less than they would have earned honestly",
                f"{fml(cheats.earned)} to {fml(alternative.earned)}",
                cheats.earned < alternative.earned,
            ),
        ),
    )


def model_copying(size: int, seed: int) -> Report:
    """Trainers that enter the best model of the epoch before as their own, as it was or a little altered."""
    honest = honest_trainers(5)
    copies = [Trainer(name=f"copy {n}", group="copied", copies="trainer 1", first_epoch=1) for n in range(size)]
    altered = [
        Trainer(name=f"altered {n}", group="copied and altered", near="trainer 1", first_epoch=1) for n in range(size)
    ]
    played = play_market([*honest, *copies, *altered], honest_validators(5), epochs=4, seed=seed)
    return Report(
        scenario="model-copying",
        conditions=f"{size} trainers re-enter the published best model, {size} alter it so that outputs hardly change",
        lines=played.lines(),
        checks=tuple(
            Check(f"{group} earns nothing", fml(played.line(group).earned), played.line(group).earned == 0)
            for group in ("copied", "copied and altered")
        ),
    )


def collusion(size: int, seed: int) -> Report:
    """Validators with 10, 30 and 49 % of the stake raise one model and sink the others, crudely or just so."""
    runs = [
        (percent, aggregation, is_crude, collude(percent, aggregation, is_crude, size, seed))
        for aggregation in Aggregation
        for percent in (10, 30, 49)
        for is_crude in (True, False)
    ]
    lines, checks = [], []
    for percent, aggregation, is_crude, played in runs:
        how = "crudely" if is_crude else "just so"
        lines.append(renamed(played.line("colluding"), f"{percent} % {how}, {aggregation.name.lower()}"))
        shift, moved = measure_shift(played)
        bound = percent / 100 * DEVNET.score_floor_millionths
        if aggregation is Aggregation.MEDIAN:
            checks.append(Check(f"{percent} % {how}: no score moves under the median", f"{shift}", shift == 0))
        else:
            checks.append(
                Check(
                    f"{percent} % {how}: a score moves by at most share x (4.45 MAD + floor) under the mean",
                    f"{shift / SCORE_ONE:.6f} of at most {bound / SCORE_ONE:.6f}, {moved} ranks moved",
                    shift <= bound + 1,
                )
            )
    honest = renamed(runs[0][3].line("honest validators"), "honest validators, beside 10 % crudely, mean")
    return Report(
        scenario="collusion",
        conditions=f"{size} validators collude for one of 6 trainers; honest ones agree, so the MAD is 0",
        lines=(honest, *lines),
        checks=tuple(checks),
        remarks=("under the mean, models nearer to each other than the bound can change places",),
    )


def collude(percent: int, aggregation: Aggregation, is_crude: bool, size: int, seed: int) -> Played:
    """Play a task in which colluding validators hold a part of the validators' stake."""
    total = 100 * 100 * FML
    favoured = Trainer(name="favoured", group="favoured", quality_a=897_500, quality_b=897_500)
    step = SCORE_ONE if is_crude else DEVNET.score_floor_millionths

    def opinion(author: Trainer, score: int, epoch: int) -> int:
        return min(SCORE_ONE, score + step) if author.name == "favoured" else max(0, score - step)

    colluding = [
        Validator(name=f"colluding {n}", group="colluding", stake=total * percent // (100 * size), opinion=opinion)
        for n in range(size)
    ]
    honest = honest_validators(6, stake=total * (100 - percent) // 600)
    params = replace(DEVNET, validators_per_epoch=min(64, size + 6))
    return play_market(
        [*honest_trainers(5), favoured], [*honest, *colluding], aggregation=aggregation, params=params, seed=seed
    )


def measure_shift(played: Played) -> tuple[int, int]:
    """Return by how many millionths the worst score left what was measured, and how many ranks changed."""
    shift = moved = 0
    for epoch, result in enumerate(played.results):
        models = {entry.tag: played.market.models[entry.tag] for entry in result.ranking}
        truth = {tag: model.score_b if result.dataset_b else model.score_a for tag, model in models.items()}
        order = sorted(truth, key=lambda tag: -truth[tag])
        for entry in result.ranking:
            assert entry.score is not None, f"no score in epoch {epoch}"
            shift = max(shift, abs(entry.score - truth[entry.tag]))
            moved += entry.rank != order.index(entry.tag) + 1
    return shift, moved


def last_day(size: int, seed: int) -> Report:
    """Trainers that join for the last epoch only, with the best model of all, to take what accrued."""
    epochs = 5
    late = [
        Trainer(name=f"late {n}", group="joined on the last day", first_epoch=epochs - 1, quality_b=960_000 - n)
        for n in range(size)
    ]
    played = play_market([*honest_trainers(5), *late], honest_validators(5), epochs=epochs, seed=seed)
    honest, joined = played.line("honest trainers"), played.line("joined on the last day")
    return Report(
        scenario="last-day",
        conditions=f"{size} trainers with the best models join for the last of {epochs} epochs",
        lines=played.lines(),
        checks=(
            Check(
                f"for their stake they earn less than 1/{epochs} of what honest trainers do",
                f"{joined.earned_per_stake:.4f} to {honest.earned_per_stake:.4f}",
                joined.earned_per_stake * epochs < honest.earned_per_stake,
            ),
        ),
        remarks=(f"one step of quality is {QUALITY_STEP / SCORE_ONE}; theirs lead by {40_000 / SCORE_ONE}",),
    )
