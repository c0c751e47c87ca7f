"""The tree of commands, the options that all of them take, and how failures end. Commands live in their own files.

Commands are named by their import path and loaded when they are used, so that `status` answers at once.
"""

import inspect
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import App, CycloptsError, Group, Parameter

from flocknode import __version__
from flocknode.cli.options import Options
from flocknode.errors import Exit, FlocknodeError, UsageError
from protocol.errors import ProtocolError
from storage.errors import StorageError

EPILOGUE = "Exit codes: 0 ok, 1 error, 2 usage, 3 daemon not running, 4 refused by the network, 5 key locked."
START, WATCH, CHAIN, WORK, TOOLS = (
    Group(name, sort_key=place) for place, name in enumerate(("Start", "Watch", "Chain", "Work", "Tools"))
)

# Group, name, what `flocknode --help` says, and where the command is.
COMMANDS = (
    (START, "init", "Create the home of a node.", "node:init"),
    (START, "genesis", "Begin a chain.", "genesis:genesis"),
    (START, "node", "Run the daemon.", "node:run_node"),
    (START, "status", "Say how the node is doing.", "node:status"),
    (START, "stop", "Stop the daemon.", "node:stop"),
    (WATCH, "logs", "Show the daemon's log.", "logs:logs"),
    (WATCH, "peers", "List the node's peers.", "node:peers"),
    (CHAIN, "chain", "The signed log: blocks, parameters, supply.", "chain:chain"),
    (CHAIN, "account", "Balances, bonds and stakes.", "accounts:account"),
    (CHAIN, "tx", "Send transactions and look at them.", "accounts:tx"),
    (WORK, "arena", "AI Arena: tasks, submissions, scores, payouts.", "arena:arena"),
    (WORK, "data", "Datasets.", "tools:data"),
    (TOOLS, "rpc", "Call any method of the daemon's socket.", "tools:rpc"),
    (TOOLS, "version", "Print the version.", "tools:version"),
)

app = App(name="flocknode", version=__version__, help="A node of the flock.", help_epilogue=EPILOGUE)
for _group, _name, _help, _place in COMMANDS:
    app.command(f"flocknode.cli.{_place}", name=_name, group=_group, help=_help)


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    home: Annotated[list[Path] | None, Parameter(negative="")] = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    quiet: Annotated[bool, Parameter(name=("--quiet", "-q"), negative="")] = False,
) -> object:
    """Run one command.

    Parameters
    ----------
    home
        The folder of the node; if not given, $FLOCKNODE_HOME or ~/.flocknode.
    json
        Print JSON instead of text.
    quiet
        Print nothing but the result.
    """
    command, bound, ignored = app.parse_args(tokens, exit_on_error=False, print_error=False)
    options = {"options": Options(homes=tuple(home or ()), json=json, quiet=quiet)} if "options" in ignored else {}
    call = partial(command, *bound.args, **bound.kwargs, **options)
    return _run_under_trio(call) if inspect.iscoroutinefunction(command) else call()


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    try:
        result = app.meta(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has seen enough; nothing more can be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.ERROR
    except BaseException as error:
        failure = _find_failure(error)
        if failure is None:
            raise
        _print_error(failure, is_json="--json" in arguments)
        return _exit_code(failure)
    return result if isinstance(result, Exit) else Exit.OK


def _run_under_trio(call: Any) -> object:
    import trio

    return trio.run(call)


def _find_failure(error: BaseException) -> FlocknodeError | None:
    """Return the expected failure that an exception is, alone or in the groups of nested nurseries; None for a bug."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, CycloptsError):
        place = " ".join(("flocknode", *(error.command_chain or ())))
        return UsageError(str(error).strip(), help=f"`{place} --help` says what is possible.")
    if isinstance(error, ProtocolError):
        return FlocknodeError(error.message, help=error.help, **error.data)
    if isinstance(error, StorageError):
        return FlocknodeError(str(error.args[0]), help=error.help)
    return error if isinstance(error, FlocknodeError) else None


def _exit_code(error: FlocknodeError) -> Exit:
    from flocknode.rpc.jsonrpc import RpcError

    return error.exit if isinstance(error, RpcError) else error.exit_code


def _print_error(error: FlocknodeError, *, is_json: bool) -> None:
    if is_json:
        kind = getattr(error, "kind", "") or type(error).__name__
        plain = {"error": {"kind": kind, "message": error.message, "help": error.help, "data": error.data}}
        print(msgspec.json.encode(plain).decode(), file=sys.stderr)
        return
    print(f"error: {error.message}", file=sys.stderr)
    if error.help:
        print(f"  {error.help}", file=sys.stderr)
