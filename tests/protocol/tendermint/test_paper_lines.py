"""Every line of Algorithm 1 from L11 to L67 is written down in the machine, and run by the tests of the lines.

The machine's comments say which lines of the paper a line of its own is. The tests of `test_machine` are run once more
with a tracer that notes which of those were reached.
"""

import ast
import inspect
import io
import itertools
import re
import sys
import tokenize
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from protocol.tendermint import machine
from tests.protocol.tendermint import test_machine

PAPER_LINES = set(range(11, 68))
LABEL = re.compile(r"L(\d+)(?: to L(\d+))?")


def read_labels(source: str) -> dict[int, set[int]]:
    """Return which lines of the paper each line of the source is; a label on a rule's head goes to its first step."""
    heads = {
        line: case.body[0].lineno
        for case in ast.walk(ast.parse(source))
        if isinstance(case, ast.match_case)
        for line in range(case.pattern.lineno, case.body[0].lineno)
    }
    labels: dict[int, set[int]] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and token.string.startswith("# L"):
            line = token.start[0]
            found = labels.setdefault(heads.get(line, line), set())
            for first, last in LABEL.findall(token.string):
                found.update(range(int(first), int(last or first) + 1))
    return labels


def find_tests() -> dict[str, Callable[..., None]]:
    return {name: test for name, test in vars(test_machine).items() if name.startswith("test_")}


def expand(test: Callable[..., None]) -> Iterator[dict[str, Any]]:
    """Yield the arguments of every run of a test."""
    choices = []
    for mark in getattr(test, "pytestmark", ()):
        names, values = mark.args
        names = [names] if isinstance(names, str) else list(names)
        choices.append([dict(zip(names, value if len(names) > 1 else [value], strict=True)) for value in values])
    for chosen in itertools.product(*choices):
        yield {name: value for arguments in chosen for name, value in arguments.items()}


def run_traced(tests: list[Callable[..., None]]) -> set[int]:
    """Return the lines of the machine's source that the tests reached."""
    reached: set[int] = set()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename != machine.__file__:
            return None
        reached.add(frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for test in tests:
            for arguments in expand(test):
                test(**arguments)
    finally:
        sys.settrace(before)
    return reached


def find_missing(tests: list[Callable[..., None]]) -> set[int]:
    """Return the lines of the paper whose line of the machine no test reached."""
    labels, reached = read_labels(inspect.getsource(machine)), run_traced(tests)
    return PAPER_LINES - {paper for line, papers in labels.items() if line in reached for paper in papers}


def test_the_machine_names_every_line_of_the_paper() -> None:
    """L11 to L67, none left out and none invented."""
    labels = read_labels(inspect.getsource(machine))
    assert PAPER_LINES <= set().union(*labels.values()) <= {10, *PAPER_LINES}


def test_every_line_of_the_paper_is_hit_by_its_tests() -> None:
    """No rule and no branch of one is without a test of its line."""
    assert find_missing(list(find_tests().values())) == set()


def test_a_line_without_its_test_is_found_out() -> None:
    """Leaving out the tests of a rule leaves its lines unhit."""
    tests = find_tests()
    for left_out, lines in (
        ("test_l57_to_l60", {57, 58, 59, 60}),
        ("test_l61_to_l64", {61, 62, 63, 64}),
        ("test_l36_to_l41", {38, 39, 40, 41}),
        ("test_l31_l32", {31, 32}),
        ("test_l14_to_l16", {14, 15, 16}),
    ):
        rest = [test for name, test in tests.items() if not name.startswith(left_out)]
        assert len(rest) == len(tests) - 1
        missing = find_missing(rest)
        assert missing
        assert missing <= lines
