"""Commands about delegated stake."""

from flocknode.cli.accounts import NoWait
from flocknode.cli.names import resolve_account
from flocknode.cli.options import Common
from flocknode.cli.sending import send_about_task
from flocknode.cli.text import parse_fml, parse_millionths
from flocknode.errors import Exit, UsageError

WHOLE_MILLIONTHS = 1_000_000


def delegate(task: str, operator: str, amount: str, /, *, no_wait: NoWait = False, options: Common) -> Exit:
    """Put stake behind a trainer or validator, from its next epoch on.

    It earns with the operator and is slashed with it. What waits for an epoch to begin can neither win nor lose. Once
    all places behind an operator are taken, a larger delegation takes that of the smallest, which leaves.

    Parameters
    ----------
    task
        Name or number of the task.
    operator
        Name or address of the trainer or validator.
    amount
        FML to delegate, such as 12.5.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    return send_about_task(
        options,
        "arena.delegate",
        task=task,
        operator=resolve_account(options.home, operator),
        units=parse_fml(amount),
        wait=not no_wait,
    )


def undelegate(
    task: str, operator: str, /, *, shares: int | None = None, no_wait: NoWait = False, options: Common
) -> Exit:
    """Take delegated stake back: it leaves when the running epoch has settled, and then unbonds.

    Parameters
    ----------
    task
        Name or number of the task.
    operator
        Name or address of the trainer or validator.
    shares
        How many shares, as `flocknode account show` counts them; all if not given.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    if shares is not None and shares < 1:
        raise UsageError("at least one share leaves")
    return send_about_task(
        options,
        "arena.undelegate",
        task=task,
        operator=resolve_account(options.home, operator),
        shares=shares,
        wait=not no_wait,
    )


def reward_share(task: str, share: str, /, *, no_wait: NoWait = False, options: Common) -> Exit:
    """Set what delegators get of this node's rewards in a task, in proportion to their part of its stake.

    A raise is in force from the next epoch on, a cut after an unbonding period. A trainer takes delegations once it
    shares; a validator shares a part by default.

    Parameters
    ----------
    task
        Name or number of the task.
    share
        Part of the rewards on delegated stake, from 0 to 0.5 at most.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    millionths = parse_millionths(share)
    if not 0 <= millionths <= WHOLE_MILLIONTHS:
        raise UsageError(f"{share} is not a part, from 0 to 1")
    return send_about_task(options, "arena.reward_share", task=task, millionths=millionths, wait=not no_wait)
