"""Founding homes and chains."""

import pytest

from flocknode.errors import ConfigInvalid, FileUnusable, HomeExists, UsageError
from flocknode.founding import create_home, describe_home, load_document, make_genesis, save_document
from flocknode.home import Home, load_names
from protocol.genesis import genesis_digest, make_genesis_state

BALANCE, BOND = 5_000 * 10**9, 500 * 10**9


def found(path, **settings):
    """Create a home without anything special."""
    plain = {"genesis": None, "port": None, "bootstrap": (), "name": None, "passphrase": None}
    return create_home(Home(path), **{**plain, **settings})


@pytest.fixture
def homes(tmp_path):
    """Three homes called after their folders."""
    for name in ("alice", "bob", "carol"):
        found(tmp_path / name)
    return [Home(tmp_path / name) for name in ("alice", "bob", "carol")]


@pytest.fixture
def document(homes):
    """The genesis document of the three homes."""
    return make_genesis(homes, preset="devnet", name="test", balance_units=BALANCE, bond_units=BOND)


def test_a_chain_of_several_homes(homes, document, tmp_path):
    """The document lists each home's public keys, makes a state, and survives its file; homes learn their names."""
    path = tmp_path / "genesis.json"
    save_document(path, document)
    assert load_document(path) == document
    assert make_genesis_state(document).records
    for home, account, replica in zip(homes, document.accounts, document.replicas, strict=True):
        made = found_genesis(home, path)
        assert made.chain == genesis_digest(document).hex()
        assert (made.account, made.consensus_key) == (account.address.hex(), replica.key.hex())
        assert load_names(home)[made.account] == load_names(home)[made.consensus_key] == made.name
        assert describe_home(home) == made


def found_genesis(home, path):
    """Add a document to a home."""
    return create_home(home, genesis=path, port=None, bootstrap=(), name=None, passphrase=None)


def test_nothing_is_replaced(homes, document, tmp_path):
    """A second init, other settings, a second document and a second file are all refused."""
    path = tmp_path / "genesis.json"
    save_document(path, document)
    with pytest.raises(FileUnusable):
        save_document(path, document)
    with pytest.raises(HomeExists):
        found(homes[0].path)
    with pytest.raises(HomeExists):
        found(homes[0].path, genesis=path, port=4000)
    found_genesis(homes[0], path)
    with pytest.raises(HomeExists):
        found_genesis(homes[0], path)


@pytest.mark.parametrize("settings", [{"port": 70_000}, {"name": "a b"}, {"bootstrap": ("127.0.0.1:1",)}])
def test_wrong_settings_leave_no_home_behind(tmp_path, settings):
    """Settings are checked before anything is made."""
    with pytest.raises(ConfigInvalid):
        found(tmp_path / "home", **settings)
    assert not (tmp_path / "home").exists()


def test_a_wrong_document_leaves_no_home_behind(tmp_path, document):
    """A document that is missing, no JSON, incomplete or changed is refused before anything is made."""
    path = tmp_path / "genesis.json"
    with pytest.raises(FileUnusable):
        found(tmp_path / "home", genesis=path)
    save_document(path, document)
    text = path.read_text()
    for wrong in (
        "{",
        "[]",
        text.replace('"time_ms"', '"time"'),
        text.replace(document.accounts[0].address.hex(), "ab"),
    ):
        path.write_text(wrong)
        with pytest.raises(ConfigInvalid, match="not a genesis document"):
            found(tmp_path / "home", genesis=path)
    assert not (tmp_path / "home").exists()


def test_a_chain_needs_a_known_preset_and_distinct_names(homes, tmp_path):
    """An unknown preset and two homes of one name are usage errors that say what to change."""
    with pytest.raises(UsageError, match="no preset"):
        make_genesis(homes, preset="betanet", name="test", balance_units=BALANCE, bond_units=BOND)
    found(tmp_path / "other", name="alice")
    with pytest.raises(UsageError, match="same name"):
        make_genesis(
            [*homes, Home(tmp_path / "other")], preset="devnet", name="test", balance_units=BALANCE, bond_units=BOND
        )
