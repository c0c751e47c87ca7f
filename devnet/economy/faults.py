"""Scenarios in which somebody does not do its part, by intent or because it cannot: who bears the loss.

Each returns a report with a promise that must hold. `size` scales how many accounts fail.
"""

from msgspec.structs import replace

from devnet.economy.actors import Creator, Trainer, Validator
from devnet.economy.attacks import fml, renamed
from devnet.economy.report import Check, Report
from devnet.economy.stage import Played, honest_trainers, honest_validators, play_market
from protocol.params import DEVNET
from protocol.rules.arena.records import Phase
from protocol.types import HOUR_MS

# An outage so long that every deadline passes in it.
OUTAGE_MS = HOUR_MS


def check_unhurt(played: Played, *groups: str) -> Check:
    """Return whether no account of the groups was slashed."""
    slashed = sum(played.line(group).slashed for group in groups)
    return Check("nobody else is slashed", fml(slashed), slashed == 0)


def creator_withholds(size: int, seed: int) -> Report:
    """A creator that never hands out a dataset's key."""
    played = play_market(
        honest_trainers(5 * size),
        honest_validators(5),
        creator=Creator(name="creator", group="withholding creator", withholds=True),
        seed=seed,
    )
    creator, trainers = played.line("withholding creator"), played.line("honest trainers")
    return Report(
        scenario="creator-withholds",
        conditions=f"the creator of a task with {5 * size} trainers and 5 validators never releases a key",
        lines=played.lines(creator=True),
        checks=(
            Check(
                "the creator loses its deposit",
                f"slashed {fml(creator.slashed)}",
                creator.slashed >= DEVNET.creator_deposit_units,
            ),
            Check("trainers are paid by their stake all the same", fml(trainers.earned), trainers.earned > 0),
            check_unhurt(played, "honest trainers", "honest validators"),
        ),
    )


def creator_seals_wrong_key(size: int, seed: int) -> Report:
    """A creator that seals another key for the validators, answering their complaint or not."""

    def attempt(answers: bool) -> Played:
        creator = Creator(name="creator", group="creator", seals_wrong=True, answers=answers)
        return play_market(honest_trainers(5 * size), honest_validators(5), creator=creator, seed=seed)

    answering, silent = attempt(True), attempt(False)
    return Report(
        scenario="creator-seals-wrong-key",
        conditions=f"the creator of a task with {5 * size} trainers and 5 validators seals a key that opens nothing",
        lines=(
            renamed(answering.line("creator"), "creator that answers"),
            renamed(silent.line("creator"), "creator that does not"),
            *answering.lines(),
        ),
        checks=(
            Check(
                "the creator loses its deposit, whether it answers the complaint or not",
                f"slashed {fml(answering.line('creator').slashed)} and {fml(silent.line('creator').slashed)}",
                min(played.line("creator").slashed for played in (answering, silent)) >= DEVNET.creator_deposit_units,
            ),
            Check(
                "its answer lets validators judge",
                fml(answering.line("honest validators").earned),
                answering.line("honest validators").earned > 0,
            ),
            check_unhurt(answering, "honest trainers", "honest validators"),
            check_unhurt(silent, "honest trainers", "honest validators"),
        ),
    )


def false_complaint(size: int, seed: int) -> Report:
    """Validators that complain about a key that was right: the published key shows it, and their stake goes."""
    liars = [Validator(name=f"liar {n}", group="complaining falsely", complains=True) for n in range(size)]
    played = play_market(honest_trainers(5), [*honest_validators(6), *liars], seed=seed)
    line = played.line("complaining falsely")
    return Report(
        scenario="false-complaint",
        conditions=f"{size} of {size + 6} validators complain about a key that opens their data",
        lines=played.lines(creator=True),
        checks=(
            Check("they lose their stake", f"slashed {fml(line.slashed)}", line.slashed >= line.stake),
            check_unhurt(played, "creator", "honest trainers", "honest validators"),
        ),
    )


def false_invalid(size: int, seed: int) -> Report:
    """Validators that call every model invalid, which saves running it: as few of many, and as the greater part."""

    def attempt(liars: int, honest: int) -> Played:
        condemning = [Validator(name=f"liar {n}", group="calling all invalid", condemns=True) for n in range(liars)]
        params = replace(DEVNET, validators_per_epoch=min(64, liars + honest))
        return play_market(honest_trainers(5), [*honest_validators(honest), *condemning], params=params, seed=seed)

    few, many = attempt(size, 3 * size), attempt(3 * size, 2 * size)
    liars, greater = few.line("calling all invalid"), many.line("calling all invalid")
    honest = few.line("honest trainers")
    return Report(
        scenario="false-invalid",
        conditions=f"{size} of {4 * size} validators, then {3 * size} of {5 * size}, call every model invalid",
        lines=(
            *few.lines(),
            renamed(many.line("honest validators"), "honest validators, the fewer"),
            renamed(greater, "calling all invalid, most"),
        ),
        checks=(
            Check("against 2/3 of the stake they earn nothing", fml(liars.earned), liars.earned == 0),
            Check("and are slashed in every epoch", fml(liars.slashed), liars.slashed >= liars.stake // 10),
            Check("trainers are paid all the same", fml(honest.earned), honest.earned > 0),
            check_unhurt(few, "honest trainers", "honest validators"),
            Check(
                "where the greater part lies, nobody is slashed for the other verdict",
                f"honest {fml(many.line('honest validators').slashed)}, lying {fml(greater.slashed)}",
                many.line("honest validators").slashed == greater.slashed == 0,
            ),
            Check("nor earns by lying", fml(greater.earned), greater.earned == 0),
        ),
    )


def play_idle(idle: list[Trainer | Validator], seed: int) -> Played:
    """Play a task with some who do not do their part, beside honest ones."""
    trainers = [actor for actor in idle if isinstance(actor, Trainer)]
    validators = [actor for actor in idle if isinstance(actor, Validator)]
    return play_market([*honest_trainers(5), *trainers], [*honest_validators(6), *validators], seed=seed)


def report_idle(scenario: str, conditions: str, group: str, idle: list[Trainer | Validator], seed: int) -> Report:
    """Return what became of those who do not do their part: nothing earned, something slashed, nobody else hurt."""
    played = play_idle(idle, seed)
    line = played.line(group)
    return Report(
        scenario=scenario,
        conditions=conditions,
        lines=played.lines(),
        checks=(
            Check("they earn nothing", fml(line.earned), line.earned == 0),
            Check("and are slashed", fml(line.slashed), line.slashed > 0),
            check_unhurt(played, "honest trainers", "honest validators"),
        ),
    )


def never_opens(size: int, seed: int) -> Report:
    """Trainers that enter models and never open them: they lose their seats' deposits."""
    idle: list[Trainer | Validator] = [
        Trainer(name=f"closed {n}", group="never opening", opens=False) for n in range(size)
    ]
    return report_idle("never-opens", f"{size} trainers enter models and never open them", "never opening", idle, seed)


def never_claims(size: int, seed: int) -> Report:
    """Trainers that open their models and never claim them: they lose their seats' deposits."""
    idle: list[Trainer | Validator] = [
        Trainer(name=f"unclaimed {n}", group="never claiming", claims=False) for n in range(size)
    ]
    return report_idle("never-claims", f"{size} trainers never claim their models", "never claiming", idle, seed)


def never_commits(size: int, seed: int) -> Report:
    """Validators that are drawn and never commit to scores: a part of their stake goes."""
    idle: list[Trainer | Validator] = [
        Validator(name=f"silent {n}", group="never committing", commits=False) for n in range(size)
    ]
    return report_idle("never-commits", f"{size} validators never commit to scores", "never committing", idle, seed)


def never_reveals(size: int, seed: int) -> Report:
    """Validators that commit to scores and never reveal them: a part of their stake goes."""
    idle: list[Trainer | Validator] = [
        Validator(name=f"hiding {n}", group="never revealing", reveals=False) for n in range(size)
    ]
    return report_idle("never-reveals", f"{size} validators never reveal their scores", "never revealing", idle, seed)


def outage(size: int, seed: int) -> Report:
    """No block for an hour, once in every phase, across every deadline: nobody is slashed, and all earn as without."""
    phases = (Phase.SUBMIT, Phase.OPEN, Phase.SCORE, Phase.REVEAL, Phase.CLAIM)
    outages = {(0, phase): OUTAGE_MS for phase in phases}

    def attempt(gaps: dict[tuple[int, Phase], int]) -> Played:
        return play_market(honest_trainers(5 * size), honest_validators(6), seed=seed, outages=gaps)

    quiet, disturbed = attempt({}), attempt(outages)
    groups = ("honest trainers", "honest validators")
    return Report(
        scenario="outage",
        conditions="no block for an hour in each phase of the first epoch",
        lines=(
            *(renamed(quiet.line(group), group) for group in groups),
            *(renamed(disturbed.line(group), f"{group}, with outages") for group in groups),
        ),
        checks=(
            check_unhurt(disturbed, *groups),
            Check(
                "everybody was judged in all epochs",
                f"{sum(result.weights != () for result in disturbed.results)} of {len(disturbed.results)}",
                all(result.weights for result in disturbed.results),
            ),
            Check(
                "all is paid as without the outages",
                " and ".join(fml(disturbed.line(group).earned) for group in groups),
                sum(disturbed.line(group).earned for group in groups)
                == sum(quiet.line(group).earned for group in groups),
            ),
        ),
    )
