"""Commands about a task's money: bounties, calling it off, letting it take part in the emission."""

from flocknode.cli.accounts import NoWait
from flocknode.cli.options import Common
from flocknode.cli.sending import send_about_task
from flocknode.cli.text import parse_fml
from flocknode.errors import Exit


def bounty(task: str, amount: str, /, *, no_wait: NoWait = False, options: Common) -> Exit:
    """Give to the pots of a task's coming epochs, so that more people work for it.

    It comes back only if the task ends before anything was entered.

    Parameters
    ----------
    task
        Name or number of the task.
    amount
        FML to give, such as 12.5.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    return send_about_task(options, "arena.bounty", task=task, units=parse_fml(amount), wait=not no_wait)


def cancel(task: str, /, *, no_wait: NoWait = False, options: Common) -> Exit:
    """Call off a task that this node's account created, before anything was entered for it.

    Escrow, bounties, stakes and deposits go back to everybody at once; the registration fee does not.

    Parameters
    ----------
    task
        Name or number of the task.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    return send_about_task(options, "arena.cancel", task=task, wait=not no_wait)


def verify(task: str, /, *, no_wait: NoWait = False, options: Common) -> Exit:
    """Let a task take part in the emission: only the governance account can, which `flocknode chain params` names.

    Parameters
    ----------
    task
        Name or number of the task.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    return send_about_task(options, "arena.verify", task=task, wait=not no_wait)
