"""The tree of commands, the options that all of them take, and how failures end. Commands live in their own files.

Commands are named by their import path and loaded when they are used, so that `status` answers at once.
"""

import errno
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
from flocknode.errors import Exit, FileUnusable, FlocknodeError, UsageError
from protocol.errors import ProtocolError
from storage.errors import StorageError

EPILOGUE = "Exit codes: 0 ok, 1 error, 2 usage, 3 daemon not running, 4 refused by the network, 5 key locked."
# What a shell expects of a program that Ctrl-C ended.
INTERRUPTED = 130
START, WATCH, CHAIN, WORK, KEYS, TOOLS = (
    Group(name, sort_key=place) for place, name in enumerate(("Start", "Watch", "Chain", "Work", "Keys", "Tools"))
)

# Group, name, what `flocknode --help` says if the command has no words of its own, and where the command is.
COMMANDS = (
    (START, "init", None, "node:init"),
    (START, "genesis", "Begin a chain.", "genesis:genesis"),
    (START, "node", None, "node:run_node"),
    (START, "status", None, "node:status"),
    (START, "stop", None, "node:stop"),
    (START, "doctor", None, "doctor:doctor"),
    (WATCH, "top", None, "top:top"),
    (WATCH, "watch", None, "watch:watch"),
    (WATCH, "logs", None, "logs:logs"),
    (WATCH, "peers", None, "node:peers"),
    (CHAIN, "chain", "The signed log: blocks, parameters, supply.", "chain:chain"),
    (CHAIN, "account", "Balances, bonds and stakes.", "accounts:account"),
    (CHAIN, "tx", "Send transactions and look at them.", "accounts:tx"),
    (CHAIN, "supply", "Where all FML is.", "chain:supply"),
    (CHAIN, "log", "Check the signed log again from genesis.", "log:log"),
    (WORK, "arena", "AI Arena: tasks, submissions, scores, payouts.", "arena:arena"),
    (WORK, "alliance", "FL Alliance: models improved with data that never leaves its owners.", "alliance:alliance"),
    (WORK, "explain", None, "explain:explain"),
    (WORK, "data", "Datasets.", "tools:data"),
    (KEYS, "keys", "The keys of a home: show, passphrase, backup, unlock, lock.", "keys:keys"),
    (TOOLS, "attach", None, "attach:attach"),
    (TOOLS, "config", "The settings of a node.", "config:config"),
    (TOOLS, "completion", None, "tools:completion"),
    (TOOLS, "db", "Repair a damaged database.", "db:db"),
    (TOOLS, "rpc", None, "tools:rpc"),
    (TOOLS, "version", None, "tools:version"),
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
    if not arguments or {"--help", "-h"} & set(arguments):
        for _, name, *_ in COMMANDS:
            # A command that is not loaded has no words that the list of commands could show.
            app[name]
    try:
        result = app.meta(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has seen enough.
        _drop_output()
        return Exit.ERROR
    except BaseException as error:
        error = _unwrap(error)
        if isinstance(error, KeyboardInterrupt):
            return INTERRUPTED
        failure = _find_failure(error)
        if failure is None:
            raise
        print_error(failure, is_json="--json" in arguments)
        return exit_code_of(failure)
    return result if isinstance(result, Exit) else Exit.OK


def _drop_output() -> None:
    """Let go of what cannot be written, or it would be tried again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run_under_trio(call: Any) -> object:
    import trio

    return trio.run(call)


def _unwrap(error: BaseException) -> BaseException:
    """Return what is in the groups of nested nurseries, if it is one thing."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _find_failure(error: BaseException) -> FlocknodeError | None:
    """Return the expected failure that an exception is; None for a bug."""
    if isinstance(error, CycloptsError):
        place = " ".join(("flocknode", *(error.command_chain or ())))
        return UsageError(str(error).strip(), help=f"`{place} --help` says what is possible.")
    if isinstance(error, ProtocolError):
        return FlocknodeError(error.message, help=error.help, **error.data)
    if isinstance(error, StorageError):
        return FlocknodeError(str(error.args[0]), help=error.help)
    if isinstance(error, OSError) and error.filename is not None:
        # A file that the machine refuses: no permission, no such folder, no room.
        return FileUnusable(f"{error.filename}: {error.strerror}", help="`flocknode doctor` looks at files and disk.")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        _drop_output()
        return FileUnusable("the output cannot be written: no space is left where it goes")
    return error if isinstance(error, FlocknodeError) else None


def exit_code_of(error: FlocknodeError) -> Exit:
    """Return what the command line ends with after a failure."""
    from flocknode.rpc.jsonrpc import RpcError

    return error.exit if isinstance(error, RpcError) else error.exit_code


def print_error(error: FlocknodeError, *, is_json: bool) -> None:
    """Say on stderr what failed, why, and what to do."""
    if is_json:
        kind = getattr(error, "kind", "") or type(error).__name__
        plain = {"error": {"kind": kind, "message": error.message, "help": error.help, "data": error.data}}
        print(msgspec.json.encode(plain).decode(), file=sys.stderr)
        return
    print(f"error: {error.message}", file=sys.stderr)
    if error.help:
        print(f"  {error.help}", file=sys.stderr)
