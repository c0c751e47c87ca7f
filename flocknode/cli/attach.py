"""The command that opens a prompt on the daemon's socket: one call a line, methods and parameters completed by Tab."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import msgspec

from flocknode.cli.calls import parse_call
from flocknode.cli.options import Common, Options
from flocknode.errors import Exit, FlocknodeError, UsageError
from flocknode.home import Home
from flocknode.rpc.call import call

PROMPT = "flocknode> "
HELP = "METHOD name=value ..., METHOD {JSON}, `help`, `help METHOD`, `exit`"

# What rpc.discover says of a method.
Method = dict[str, Any]


def attach(*, options: Common) -> Exit:
    """Open a prompt for JSON-RPC calls; where the input is no terminal, perform its lines.

    The exit code says whether all calls succeeded, but on a terminal, where a person saw it.
    """
    methods = load_methods(options.home)
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        _prepare_prompt(methods)
        print(f"{len(methods)} methods. {HELP}", file=sys.stderr)
    code = Exit.OK
    for line in _read_lines(is_terminal):
        words = line.strip()
        if words in ("exit", "quit"):
            break
        if words and not words.startswith("#"):
            code = _perform(options, methods, words) or code
    return Exit.OK if is_terminal else code


def load_methods(home: Home) -> dict[str, Method]:
    """Return what the daemon says of its methods, by name."""
    document: Any = call(home, "rpc.discover", object)
    return {method["name"]: method for method in document["methods"]}


def describe_method(method: Method) -> str:
    """Return a method's words: what it does, and its parameters with their types."""
    lines = [f"{method['name']}: {method['summary']}"]
    for param in method["params"]:
        schema = {key: value for key, value in param["schema"].items() if key != "title"}
        lines.append(f"  {param['name']}{'' if param['required'] else ' (optional)'}  {json.dumps(schema)}")
    return "\n".join(lines)


def _perform(options: Options, methods: dict[str, Method], line: str) -> Exit:
    """Do what a line says, and print the result or what went wrong."""
    try:
        if line == "help" or line.startswith("help "):
            _print_help(methods, line.removeprefix("help").strip())
            return Exit.OK
        method, params = parse_call(line)
        found: Any = call(options.home, method, object, **params)
    except FlocknodeError as error:
        from flocknode.cli.app import exit_code_of, print_error

        print_error(error, is_json=options.json)
        return exit_code_of(error)
    text = msgspec.json.encode(found).decode() if options.json else json.dumps(found, indent=2, ensure_ascii=False)
    print(text, flush=True)
    return Exit.OK


def _print_help(methods: dict[str, Method], name: str) -> None:
    if not name:
        for method in methods.values():
            print(f"{method['name']:<24} {method['summary']}")
        return
    if name not in methods:
        raise UsageError(f"there is no method {name!r}", help="`help` lists them.")
    print(describe_method(methods[name]))


def _read_lines(is_terminal: bool) -> Iterator[str]:
    while True:
        try:
            line = input(PROMPT) if is_terminal else sys.stdin.readline()
        except (EOFError, KeyboardInterrupt):
            return
        if not line and not is_terminal:
            return
        yield line


def _prepare_prompt(methods: dict[str, Method]) -> None:
    """Let the line be edited, and Tab complete methods, then their parameters."""
    import readline

    def complete(text: str, state: int) -> str | None:
        words = readline.get_line_buffer().split()
        method = methods.get(words[0]) if words else None
        options = [f"{param['name']}=" for param in method["params"]] if method else [*methods, "help ", "exit"]
        return next(iter([option for option in options if option.startswith(text)][state : state + 1]), None)

    readline.set_completer_delims(" ")
    readline.set_completer(complete)
    readline.parse_and_bind("tab: complete")
