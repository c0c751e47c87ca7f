"""The home folder: layout, permissions, socket path, port, names."""

import json
import stat
from pathlib import Path

import pytest

from flocknode.errors import ConfigInvalid, FlocknodeError, HomeMissing
from flocknode.home import MAX_SOCKET_PATH_BYTES, Home, load_names


@pytest.fixture
def home(tmp_path):
    """A created home."""
    home = Home(tmp_path / "home")
    home.create()
    return home


def test_folders_are_their_owners_alone(home):
    """Nobody else can look into a home, whatever it was before."""
    home.path.chmod(0o755)
    home.create()
    for folder in (home.path, home.keys, home.data, home.blobs, home.log_file.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_home_without_a_node_says_how_to_make_one(home):
    """Opening a home that was never initialised names the command that does it."""
    with pytest.raises(HomeMissing) as caught:
        home.require()
    assert f"flocknode init --home {home.path}" in caught.value.help


def test_the_socket_lies_in_the_home_as_long_as_its_path_fits(tmp_path, monkeypatch):
    """A path of 107 bytes is used as it is; one more byte moves the socket and leaves `rpc.path`."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    room = MAX_SOCKET_PATH_BYTES - len(str(tmp_path / "flocknode.sock")) - 1
    fits, long = Home(tmp_path / ("x" * room)), Home(tmp_path / ("x" * (room + 1)))
    for home in (fits, long):
        home.create()
    assert len(str(fits.choose_socket())) == MAX_SOCKET_PATH_BYTES
    assert fits.find_socket() == fits.path / "flocknode.sock"
    outside = long.choose_socket()
    assert len(str(outside)) <= MAX_SOCKET_PATH_BYTES
    assert long.find_socket() == outside
    assert long.choose_socket() == outside
    fits.socket_reference.write_text("/stale\n")
    assert fits.choose_socket() == fits.find_socket() == fits.path / "flocknode.sock"


def test_a_runtime_folder_that_others_can_enter_is_refused(tmp_path, monkeypatch):
    """The socket never goes to a folder that somebody else prepared."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "flocknode").mkdir(mode=0o755)
    home = Home(tmp_path / ("x" * MAX_SOCKET_PATH_BYTES))
    home.create()
    with pytest.raises(FlocknodeError, match="not a folder of this user alone"):
        home.choose_socket()


def test_the_port_is_kept(home):
    """The port of a start is found again at the next one; a damaged file is named."""
    assert home.load_port() == 0
    home.save_port(40123)
    assert home.load_port() == 40123
    home.port_file.write_text("70000")
    with pytest.raises(ConfigInvalid, match="does not hold a port"):
        home.load_port()


def test_names_come_from_the_genesis_document(home):
    """Accounts and their consensus keys have the account's name; no document, no names; another file is an error."""
    assert load_names(home) == {}
    document = {
        "accounts": [{"name": "alice", "address": "aa"}, {"name": "bob", "address": "bb"}],
        "replicas": [{"account": "bb", "key": "cc"}],
    }
    home.genesis_file.write_text(json.dumps(document))
    assert load_names(home) == {"aa": "alice", "bb": "bob", "cc": "bob"}
    for text in ("{", '{"accounts": []}', "[]"):
        home.genesis_file.write_text(text)
        with pytest.raises(ConfigInvalid, match=r"genesis\.json"):
            load_names(home)


def test_a_relative_home_has_an_absolute_socket(monkeypatch, tmp_path):
    """Clients and daemon find the same socket from different folders."""
    monkeypatch.chdir(tmp_path)
    assert Home(Path("home")).find_socket() == tmp_path / "home" / "flocknode.sock"
