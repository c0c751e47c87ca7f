"""The house rules that no linter knows, read off the syntax tree of every module. The tables come first."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60

# What `protocol` may import: nothing that knows a clock, a dice, a file, a socket or a thread.
PURE_MODULES = {
    *("collections", "dataclasses", "decimal", "enum", "functools", "hashlib", "heapq", "itertools", "math", "types"),
    *("typing", "bisect", "gmpy2", "msgpack", "msgspec", "nacl", "rbcl", "protocol"),
}
# Modules that are pure, but only for one place: exact integer products, and the wrapper of the curve's library.
CONFINED_MODULES = {"numpy": "protocol/zk/", "py_arkworks_bls12381": "protocol/zk/group.py"}
# Built-in names that reach outside, differ from process to process, or leave the exact numbers.
IMPURE_NAMES = {
    *("open", "print", "input", "eval", "exec", "compile", "globals", "__import__", "breakpoint"),
    *("hash", "float", "complex"),
}
# Fresh randomness by any library's name for it; `randomness` is what an argument that brings it is called.
RANDOM = re.compile("random(?!ness)", re.IGNORECASE)
# Where a Decimal may be divided, under the pinned context of `protocol.fixed`.
DIVIDING = ("protocol/fixed.py", "protocol/formulas/")
# What rules may do with numbers besides comparing them (`|` joins types), and what would let them do more.
RULES = "protocol/rules/"
RULE_OPERATORS = (ast.Add, ast.Sub, ast.BitOr)
RULE_FOREIGN = {"math", "fractions", "gmpy2", "divmod", "pow"}

PACKAGES = ("protocol", "storage", "flocknode", "devnet", "tests")


def find_breaches(root: Path) -> list[str]:
    """Return every breach below `root` as `path:line: what is wrong`."""
    return [
        f"{path.relative_to(root)}:{line}: {what}"
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
        for line, what in _find_in_module(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
    ]


def _find_in_module(name: str, text: str) -> Iterator[tuple[int, str]]:
    tree = ast.parse(text)
    yield from _find_long(tree, text)
    if name.startswith("tests/"):
        yield from _find_in_tests(name, tree)
    if name.startswith("protocol/"):
        yield from _find_imports(name, tree)
        yield from _find_names(tree)
        yield from _find_numbers(tree, may_divide=name.startswith(DIVIDING))
    if name.startswith(RULES):
        yield from _find_arithmetic(tree)


def _find_long(tree: ast.Module, text: str) -> Iterator[tuple[int, str]]:
    if text.count("\n") > MAX_MODULE_LINES:
        yield 1, f"a module of {text.count(chr(10))} lines, {MAX_MODULE_LINES} at most"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                yield node.lineno, f"{node.name} has {lines} lines, {MAX_FUNCTION_LINES} at most"


def _find_in_tests(name: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    if name.endswith("/__init__.py"):
        yield 1, "no packages among the tests"
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
            continue
        if not ast.get_docstring(node):
            yield node.lineno, f"{node.name} does not say what it shows"


def _find_imports(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=module):
                modules = [module or "."]
            case _:
                continue
        for name in modules:
            if not _may_import(path, name.partition(".")[0]):
                yield node.lineno, f"imports {name}"


def _may_import(path: str, module: str) -> bool:
    if module in CONFINED_MODULES:
        return path.startswith(CONFINED_MODULES[module])
    return module in PURE_MODULES


def _identifier(node: ast.AST) -> str:
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return node.attr
        case ast.alias():
            return node.name
        case _:
            return ""


def _find_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        name = _identifier(node)
        if (isinstance(node, ast.Name) and name in IMPURE_NAMES) or RANDOM.search(name):
            yield getattr(node, "lineno", 1), f"uses {name}"


def _find_numbers(tree: ast.Module, *, may_divide: bool) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            yield node.lineno, f"the float {node.value}"
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div) and not may_divide:
            yield node.lineno, f"divides: {ast.unparse(node)}"


def _find_arithmetic(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp | ast.AugAssign) and not isinstance(node.op, RULE_OPERATORS):
            yield node.lineno, f"a rule computes: {ast.unparse(node)}"
        elif _identifier(node) in RULE_FOREIGN and not isinstance(node, ast.Attribute):
            yield getattr(node, "lineno", 1), f"a rule computes: {_identifier(node)}"
        elif isinstance(node, ast.ImportFrom) and node.module in RULE_FOREIGN:
            yield node.lineno, f"a rule computes: {node.module}"
