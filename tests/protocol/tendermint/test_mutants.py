"""Taking away any rule, condition or consequence of the machine makes a test of the paper's lines fail.

Each mutant is the machine's own source with one thing changed; its functions take the place of the real ones while the
tests of `test_machine` run on them.
"""

import ast
import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType

from protocol.tendermint import machine
from tests.protocol.tendermint.test_paper_lines import expand, find_tests

OPPOSITES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Is: ast.IsNot,
    ast.IsNot: ast.Is, ast.In: ast.NotIn,
}  # fmt: skip
Edit = tuple[str, Callable[[ast.AST], object]]


def find_edits(node: ast.AST) -> Iterator[Edit]:
    """Yield what can be changed about a node, in words and as a function that does it to a copy of the node."""
    match node:
        case ast.match_case(pattern=pattern, guard=guard):
            if guard is not None or not isinstance(pattern, ast.MatchAs):
                yield "no rule", lambda case: setattr(case, "guard", ast.Constant(False))
            if guard is not None:
                yield "no condition", lambda case: setattr(case, "guard", ast.Constant(True))
        case ast.BoolOp(op=op, values=values):
            for index, value in enumerate(values):
                neutral = ast.Constant(isinstance(op, ast.And))
                yield (
                    f"without {ast.unparse(value)}",
                    lambda it, index=index, neutral=neutral: it.values.__setitem__(index, neutral),
                )
        case ast.Compare(ops=[op]):
            yield "the other way round", lambda it: it.ops.__setitem__(0, OPPOSITES[type(it.ops[0])]())
        case ast.If() | ast.IfExp():
            for value in (True, False):
                yield f"always {value}", lambda it, value=value: setattr(it, "test", ast.Constant(value))
        case ast.Call(func=ast.Name("_change"), keywords=keywords):
            for index, keyword in enumerate(keywords):
                if keyword.arg is not None:
                    yield f"without {keyword.arg}", lambda it, index=index: it.keywords.pop(index)
        case ast.List(elts=elements, ctx=ast.Load()):
            for index, element in enumerate(elements):
                yield f"without {ast.unparse(element)}", lambda it, index=index: it.elts.pop(index)
        case ast.BinOp(op=ast.Add()):
            yield "minus", lambda it: setattr(it, "op", ast.Sub())


def make_mutants(source: str) -> Iterator[tuple[str, CodeType]]:
    """Yield every mutant of a source: where and what is changed, and the module's code."""
    tree = ast.parse(source)
    for position, node in enumerate(ast.walk(tree)):
        for words, edit in find_edits(node):
            mutant = copy.deepcopy(tree)
            edit(list(ast.walk(mutant))[position])
            yield (
                f"line {getattr(node, 'lineno', 0)}: {ast.unparse(node).splitlines()[0]}: {words}",
                compile(ast.fix_missing_locations(mutant), machine.__file__, "exec"),
            )


@contextmanager
def in_place(mutant: CodeType) -> Iterator[None]:
    """Let the machine's functions run a mutant's code for a while."""
    functions = {name: value for name, value in vars(machine).items() if isinstance(value, FunctionType)}
    codes = {code.co_name: code for code in mutant.co_consts if isinstance(code, CodeType)}
    originals = {name: function.__code__ for name, function in functions.items() if name in codes}
    try:
        for name in originals:
            functions[name].__code__ = codes[name]
        yield
    finally:
        for name, original in originals.items():
            functions[name].__code__ = original


def is_noticed() -> bool:
    """Return whether a test of the paper's lines fails."""
    for test in find_tests().values():
        for arguments in expand(test):
            try:
                test(**arguments)
            except Exception:  # noqa: BLE001 (however it fails, it has noticed)
                return True
    return False


def test_every_mutant_of_the_machine_is_noticed() -> None:
    """No rule can be dropped, no condition loosened, no consequence forgotten without a test that fails."""
    assert not is_noticed()
    survivors, count = [], 0
    for words, mutant in make_mutants(inspect.getsource(machine)):
        count += 1
        with in_place(mutant):
            if not is_noticed():
                survivors.append(words)
    assert not survivors, "\n".join(survivors)
    assert count > 100, "there is nothing to notice"
    assert not is_noticed(), "the machine is what it was"
