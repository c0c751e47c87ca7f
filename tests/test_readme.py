"""What the README says of commands, methods, files, exit codes and formulas, checked against the code."""

import re
from pathlib import Path
from typing import Any

from cyclopts import App

from flocknode.cli.app import app, run
from flocknode.errors import Exit
from flocknode.home import Home
from flocknode.logs import configure
from flocknode.rpc.events import EventHub, make_log_methods
from flocknode.rpc.methods import make_methods
from flocknode.rpc.server import RpcServer
from protocol.formulas import alliance, arena, emission
from protocol.zk import commitment, opening

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FORMULAS = (alliance, arena, emission, commitment, opening)
MAX_LINES = 250


def table(first_heading: str) -> list[list[str]]:
    """Return the rows of the table whose first column has this heading."""
    lines = iter(README.splitlines())
    next(line for line in lines if line.startswith(f"| {first_heading} |"))
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def codes(text: str) -> list[str]:
    """Return what stands in code marks."""
    return re.findall(r"`([^`]+)`", text)


def named(heading: str) -> list[str]:
    """Return everything in code marks in the first column of a table."""
    return [name for row in table(heading) for name in codes(row[0])]


def commands(group: App, path: tuple[str, ...] = ()) -> list[str]:
    """Return all commands below a group, by their words."""
    found = []
    for name in (name for name in group if not name.startswith("-")):
        inner = group[name]
        has_inner = any(not word.startswith("-") for word in inner)
        found += commands(inner, (*path, name)) if has_inner else [" ".join((*path, name))]
    return found


def test_every_command_is_listed_once():
    """No command is missing, none is invented."""
    assert sorted(named("command")) == sorted(commands(app))


def test_every_rpc_method_is_listed_once(tmp_path: Path):
    """The node's methods, and those that the server answers itself."""
    node: Any = None
    output = configure(level="error")
    handlers = {**make_methods(node), **make_log_methods(output)}
    server = RpcServer(tmp_path / "socket", handlers, EventHub())
    assert sorted(named("method")) == sorted(server.methods)


def test_exit_codes_are_those_of_the_code():
    """Every code, and no other."""
    assert [int(row[0]) for row in table("exit code")] == [int(code) for code in Exit]


def test_the_home_has_what_the_table_says(tmp_path: Path):
    """Each path that a home knows of lies in an entry of the table."""
    home = Home(tmp_path)
    paths = [getattr(home, name) for name, kind in vars(Home).items() if isinstance(kind, property)]
    entries = {name.rstrip("/") for name in named("in the home")}
    for path in paths:
        relative = path.relative_to(tmp_path).as_posix()
        assert any(relative == entry or relative.startswith(f"{entry}/") for entry in entries), relative


def find_formula(name: str) -> Any:
    """Return the function of this name, whichever module of equations has it."""
    return next(getattr(module, name) for module in FORMULAS if hasattr(module, name))


def test_formulas_stand_where_the_table_says():
    """Each tag is in the docstring of the function that the table names, and no tag of the module is missing."""
    listed = set()
    for tags, _, functions in table("tag"):
        docstrings = " ".join(found.__doc__ or "" for found in map(find_formula, codes(functions)))
        for tag in tags.split():
            assert re.search(rf"\b{tag}\b", docstrings), tag
            listed.add(tag)
    texts = [f.__doc__ or "" for module in FORMULAS for f in vars(module).values() if callable(f)]
    documented = re.findall(r"Formulas? ([^.]*)", " ".join(texts))
    assert {tag for text in documented for tag in re.findall(r"\b[AELOZ]\d+\b", text)} <= listed


def test_the_way_to_a_node_of_ones_own_leads_there(tmp_path: Path):
    """The commands of the section, as they stand there, make two homes of one chain that are ready to start."""
    section = README.split("## One node for real")[1].split("\n## ")[0]
    lines = [line.strip() for line in section.splitlines() if line.startswith("    flocknode ")]
    peer = "12D3KooWBmAwcd4PJNJvfV89HwE48nwkRmAgo8Vy3uQEyNNHBox2"
    for line in lines:
        words = line.replace("~", str(tmp_path)).replace("12D3Koo...", peer).split()[1:]
        if "--bootstrap" in words:
            words.append("--no-passphrase")
        words = ["config", "check", *words[1:]] if words[0] == "node" else words
        assert run([*words, "--json"]) == Exit.OK, line
    assert len(lines) == 6
    documents = [(tmp_path / home / "genesis.json").read_bytes() for home in ("node", "other")]
    assert documents[0] == documents[1]


def test_paths_that_the_readme_names_exist():
    """Files of the repository in code marks or links are there."""
    paths = [name for name in codes(README) if re.fullmatch(r"(protocol|storage|flocknode|devnet|tests)/[\w./]*", name)]
    paths += re.findall(r"\]\(([\w./]+)\)", README)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_readme_is_short():
    """At most 250 lines."""
    assert len(README.splitlines()) <= MAX_LINES
