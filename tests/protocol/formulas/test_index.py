"""Each equation of the white paper is one function, with a known answer."""

import importlib
import importlib.util
import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path

VECTORS = Path(__file__).parents[2] / "vectors"

# What each module of `protocol.formulas` holds, once it exists.
TAGS = {
    "emission": "E1 E2 E3 E4",
    "arena": "A4 O1 O2 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14 A15 A16",
    "alliance": "L1 L2 L3 L4 L5 L6",
    "market": "M1 M2 M3",
    "governance": "G1 G2",
}
DECLARATION = re.compile(r"\bFormulas? ([A-Z]\d+(?:(?:, | and )[A-Z]\d+)*)")


def find_faults(tags: str, docstrings: Mapping[str, str], vectors: Mapping[str, list[dict[str, str]]]) -> list[str]:
    """Return what is wrong with a module: tags without a function, with two, or without a known answer."""
    holders: dict[str, list[str]] = {tag: [] for tag in tags.split()}
    for name, docstring in docstrings.items():
        for declaration in DECLARATION.findall(docstring):
            for tag in re.findall(r"[A-Z]\d+", declaration):
                holders.setdefault(tag, []).append(name)
    faults = [f"{tag}: {len(names)} functions {names}" for tag, names in holders.items() if len(names) != 1]
    faults += [
        f"{tag}: no known answer calls {names[0]}"
        for tag, names in holders.items()
        if names and all(case["function"] != names[0] for case in vectors.get(tag, []))
    ]
    return faults


def test_every_tag_has_one_function_and_a_known_answer() -> None:
    """Every module of equations that exists declares each of its tags once, and its vectors call that function."""
    checked = []
    for module_name, tags in TAGS.items():
        if importlib.util.find_spec(f"protocol.formulas.{module_name}") is None:
            continue
        module = importlib.import_module(f"protocol.formulas.{module_name}")
        functions = inspect.getmembers(module, inspect.isfunction)
        docstrings = {name: inspect.getdoc(function) or "" for name, function in functions}
        vectors = json.loads((VECTORS / f"{module_name}.json").read_text())
        assert find_faults(tags, docstrings, vectors) == []
        checked.append(module_name)
    assert "arena" in checked


def test_the_index_notices_each_fault() -> None:
    """A missing function, a second one, and a missing known answer are all named."""
    vectors = {"A1": [{"function": "one"}], "A2": [{"function": "other"}]}
    assert find_faults("A1", {"one": "Formula A1."}, vectors) == []
    assert find_faults("A1 A3", {"one": "Formula A1."}, vectors) == ["A3: 0 functions []"]
    assert find_faults("A1", {"one": "Formula A1.", "two": "Formulas A1."}, vectors) == [
        "A1: 2 functions ['one', 'two']"
    ]
    assert find_faults("A1 A2", {"one": "Formulas A1 and A2."}, vectors) == ["A2: no known answer calls one"]
