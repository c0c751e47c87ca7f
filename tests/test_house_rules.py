"""The whole tree keeps the house rules, and every rule notices a deliberate breach."""

from pathlib import Path

import pytest

from tests.house_rules import MAX_FUNCTION_LINES, MAX_MODULE_LINES, find_breaches

ROOT = Path(__file__).parents[1]

# A module that breaks one rule, and what is said of it.
BREACHES = [
    ("protocol/breach.py", "import time", "1: imports time"),
    ("protocol/breach.py", "from random import choice", "1: imports random"),
    ("protocol/breach.py", "import os.path", "1: imports os.path"),
    ("protocol/formulas/breach.py", "def now():\n    import socket", "2: imports socket"),
    ("protocol/zk/breach.py", "import typing, trio", "1: imports trio"),
    ("protocol/rules/breach.py", "import numpy as np", "1: imports numpy"),
    ("protocol/zk/breach.py", "from py_arkworks_bls12381 import G1Point", "1: imports py_arkworks_bls12381"),
    ("protocol/breach.py", "from . import types", "1: imports ."),
    ("protocol/breach.py", "import nacl\nnonce = nacl.utils.random(24)", "2: uses random"),
    ("protocol/breach.py", "import rbcl\nrbcl.randombytes(32)", "2: uses randombytes"),
    ("protocol/breach.py", "text = open('genesis.json').read()", "1: uses open"),
    ("protocol/breach.py", "def order(key: bytes) -> int:\n    return hash(key)", "2: uses hash"),
    ("protocol/breach.py", "print('height')", "1: uses print"),
    ("protocol/breach.py", "share = float(3)", "1: uses float"),
    ("protocol/formulas/breach.py", "share: float", "1: uses float"),
    ("protocol/breach.py", "share = 0.5", "1: the float 0.5"),
    ("protocol/formulas/breach.py", "share = 1e9", "1: the float 1000000000.0"),
    ("protocol/ledger.py", "def half(units):\n    return units / 2", "2: divides: units / 2"),
    ("protocol/ledger.py", "units = 3\nunits /= 2", "2: divides: units /= 2"),
    ("protocol/rules/breach.py", "fee = 3 * 2", "1: a rule computes: 3 * 2"),
    ("protocol/rules/breach.py", "fee = 3 // 2", "1: a rule computes: 3 // 2"),
    ("protocol/rules/arena/breach.py", "fee = 3 % 2", "1: a rule computes: 3 % 2"),
    ("protocol/rules/breach.py", "fee = 3 ** 2", "1: a rule computes: 3 ** 2"),
    ("protocol/rules/breach.py", "fee = 3\nfee <<= 2", "2: a rule computes: fee <<= 2"),
    ("protocol/rules/breach.py", "fee = divmod(3, 2)", "1: a rule computes: divmod"),
    ("protocol/rules/breach.py", "import math", "1: a rule computes: math"),
    ("protocol/rules/breach.py", "from operator import mul", "1: imports operator"),
    ("storage/breach.py", "\n" * (MAX_MODULE_LINES + 1), "1: a module of 401 lines, 400 at most"),
    ("flocknode/breach.py", "def long():\n" + "    pass\n" * MAX_FUNCTION_LINES, "1: long has 61 lines, 60 at most"),
    ("tests/protocol/__init__.py", "", "1: no packages among the tests"),
    ("tests/test_breach.py", "def test_it():\n    assert True", "1: test_it does not say what it shows"),
]
KEPT = [
    ("protocol/formulas/allowed.py", "from decimal import Decimal\nshare = Decimal(1) / 3"),
    ("protocol/rules/arena/allowed.py", "from decimal import Decimal\nshare = Decimal(3)"),
    ("protocol/rules/allowed.py", "def top_up(units: int | None) -> int:\n    return (units or 0) + 3 - 1"),
    ("protocol/allowed.py", "def prove(*, randomness: bytes) -> bytes:\n    return randomness[: 3 * 4 // 2]"),
    ("protocol/zk/allowed.py", "import numpy as np\nfrom numpy.typing import NDArray"),
    ("protocol/zk/group.py", "from py_arkworks_bls12381 import G1Point, Scalar"),
    ("flocknode/allowed.py", "import time\nshare = 0.5 / time.time()"),
]


def write_module(root: Path, name: str, text: str) -> None:
    """Write one module into an otherwise empty tree."""
    path = root / name
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")


def test_the_tree_keeps_the_rules() -> None:
    """No module of the project breaks a house rule."""
    assert find_breaches(ROOT) == []


@pytest.mark.parametrize(("name", "text", "said"), BREACHES, ids=[said for _, _, said in BREACHES])
def test_a_breach_is_noticed(tmp_path: Path, name: str, text: str, said: str) -> None:
    """A module that breaks one rule is named with its line and what is wrong in it, and nothing else is."""
    write_module(tmp_path, name, text)
    assert find_breaches(tmp_path) == [f"{name}:{said}"]


@pytest.mark.parametrize(("name", "text"), KEPT, ids=[name for name, _ in KEPT])
def test_what_is_allowed_passes(tmp_path: Path, name: str, text: str) -> None:
    """Formulas divide, rules add, the daemon knows the time."""
    write_module(tmp_path, name, text)
    assert find_breaches(tmp_path) == []
