"""The devnet's folder: homes that know each other, one chain, ports that stay, and what is wiped."""

import socket

import pytest

from devnet.cast import CAST
from devnet.homes import choose_ports, connect_homes, create_homes
from devnet.state import State
from flocknode.config import load_config
from flocknode.founding import describe_home
from flocknode.network.addresses import parse_address


@pytest.fixture
def state(tmp_path):
    """Give a folder with homes."""
    state = State(tmp_path / "devnet")
    create_homes(state)
    return state


def test_all_homes_share_a_chain_and_know_each_other(state):
    """Seven homes have one chain, and each dials the other six at their own ports and peer ids."""
    described = {actor.name: describe_home(state.home(actor.name)) for actor in CAST}
    assert len({home.chain for home in described.values()}) == 1
    ports = {name: load_config(state.home(name)).network.port for name in described}
    assert len(set(ports.values())) == len(CAST)
    for name in described:
        dialled = {parse_address(text) for text in load_config(state.home(name)).network.bootstrap}
        assert {(one.port, one.peer) for one in dialled} == {
            (ports[other], described[other].peer) for other in described if other != name
        }


def test_a_port_that_is_free_stays_and_a_taken_one_changes(state):
    """At the next start a home keeps its port, unless another program has it; then all others learn the new one."""
    ports = {actor.name: load_config(state.home(actor.name)).network.port for actor in CAST}
    with socket.create_server(("127.0.0.1", ports["bob"])):
        connect_homes(state)
    found = {actor.name: load_config(state.home(actor.name)).network.port for actor in CAST}
    assert found["bob"] != ports["bob"]
    assert {**found, "bob": 0} == {**ports, "bob": 0}
    assert any(f"/tcp/{found['bob']}/" in text for text in load_config(state.home("alice")).network.bootstrap)


def test_ports_are_distinct():
    """Ports chosen at once never collide."""
    ports = choose_ports({f"node{number}": 0 for number in range(20)})
    assert len(set(ports.values())) == 20


def test_wiping_leaves_what_is_not_the_devnets(state):
    """Only what a devnet is made of is removed, so that a mistyped folder loses nothing else."""
    (state.path / "thesis.txt").write_text("mine")
    state.wipe()
    assert not state.exists
    assert [path.name for path in state.path.iterdir()] == ["thesis.txt"]
