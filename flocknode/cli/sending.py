"""How commands about tasks and alliances send their transactions, and show what became of them."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from flocknode.cli.accounts import exit_code_of, show_outcome
from flocknode.cli.options import Options
from flocknode.cli.output import note, show
from flocknode.cli.progress import call_long
from flocknode.errors import Exit
from flocknode.rpc.alliance_records import AllianceSent
from flocknode.rpc.arena_records import Submitted
from flocknode.rpc.records import Outcome


class Sent(Protocol):
    """An answer that says what became of a transaction."""

    @property
    def outcome(self) -> Outcome:
        """What became of it."""


S = TypeVar("S", bound=Sent)


def send(options: Options, method: str, kind: type[S], describe: Callable[[S], str], **params: Any) -> Exit:
    """Call a method that sends a transaction, and show what became of it; refused when it failed or expired.

    `describe` gives what else the answer says, for people; nothing is said where that is empty.
    """
    sent = call_long(options, method, kind, **params)
    if options.json:
        show(options, sent, lambda _: "")
        return exit_code_of(sent.outcome)
    if said := describe(sent):
        note(options, said)
    return show_outcome(options, sent.outcome)


def send_about_task(options: Options, method: str, **params: Any) -> Exit:
    """Send a transaction about a task, whose number is told where it is known."""
    return send(options, method, Submitted, lambda sent: "" if sent.task is None else f"task {sent.task}", **params)


def send_about_alliance(options: Options, method: str, **params: Any) -> Exit:
    """Send a transaction about an alliance, whose number is told where it is known."""

    def describe(sent: AllianceSent) -> str:
        return "" if sent.alliance is None else f"alliance {sent.alliance}"

    return send(options, method, AllianceSent, describe, **params)
