"""Each contract on the direction of imports notices a deliberate breach."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Per contract of pyproject.toml: a module, what it imports, and who must not.
BREACHES = {
    "devnet -> flocknode -> storage -> protocol": ("storage.breach_upwards", "flocknode.home"),
    "protocol touches nothing of the world": ("protocol.breach_world", "trio"),
    "only provers in protocol/zk import numpy": ("protocol.zk.breach_numpy", "numpy"),
    "what a replica verifies with needs no numpy": ("protocol.rules.breach_prover", "numpy"),
    "one wrapper knows the curve's library": ("protocol.zk.breach_curve", "py_arkworks_bls12381"),
    "storage knows records, but neither rules, network nor learning": ("storage.breach_rules", "protocol.rules.purses"),
    "consensus knows replicas and hashes, nothing of tokens": (
        "protocol.tendermint.breach_tokens",
        "protocol.transactions",
    ),
    "formulas hold numbers, never state": ("protocol.formulas.breach_state", "protocol.state"),
    "only learning imports torch, safetensors and numpy": ("flocknode.breach_torch", "torch"),
    "only the job that makes datasets imports scikit-learn and mlxtend": (
        "flocknode.learning.breach_datasets",
        "sklearn",
    ),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says of a copy of the tree with one breach of each contract."""
    copy = tmp_path_factory.mktemp("tree")
    for package in ("devnet", "flocknode", "storage", "protocol"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for module, imported in BREACHES.values():
        copy.joinpath(*module.split(".")).with_suffix(".py").write_text(f"import {imported}\n", encoding="utf-8")
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def test_every_contract_has_its_breach() -> None:
    """No contract is written down without a breach that shows it at work."""
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert {contract["name"] for contract in configuration["tool"]["importlinter"]["contracts"]} == set(BREACHES)


@pytest.mark.parametrize("contract", BREACHES)
def test_the_breach_is_noticed(report: str, contract: str) -> None:
    """The contract is called broken, and its own section names the import that breaks it."""
    module, imported = BREACHES[contract]
    assert f"{contract} BROKEN" in report
    _, _, section = report.partition(f"\n{contract}\n{'-' * len(contract)}\n")
    section, _, _ = section.partition("\n---")
    assert f"{module} -> {imported} (l.1)" in section


def test_starting_a_node_loads_no_numerical_library() -> None:
    """Whatever a daemon imports before it serves, the worker and the provers keep numpy and torch to themselves."""
    program = "import sys, flocknode.node; print({'numpy', 'torch', 'safetensors', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "set()\n", done.stderr
