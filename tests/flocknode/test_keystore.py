"""Key files: private, never replaced, refused when damaged; the account under a passphrase; peer ids as libp2p's."""

import json
import stat

import pytest
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID

from flocknode import keystore, sealed_key
from flocknode.errors import FileUnusable, HomeExists, KeyInvalid, KeyLocked, UsageError, WrongPassphrase
from flocknode.home import Home
from protocol.crypto import public_key
from protocol.vrf import public

PASSPHRASE = "correct horse battery staple"
OTHER = "another long passphrase"


@pytest.fixture
def home(tmp_path):
    """A home with fresh keys."""
    home = Home(tmp_path / "home")
    home.create()
    keystore.create_keys(home, None)
    return home


@pytest.fixture
def sealed(tmp_path, monkeypatch):
    """A home whose account lies under a passphrase that is quick to check."""
    monkeypatch.setattr(sealed_key, "OPERATIONS", 1)
    monkeypatch.setattr(sealed_key, "MEMORY_BYTES", 8192)
    home = Home(tmp_path / "sealed")
    home.create()
    keystore.create_keys(home, PASSPHRASE)
    return home


def test_three_distinct_keys_in_private_files(home):
    """Account, consensus and peer keys differ, and only their owner can read them."""
    seeds = {
        keystore.load_account_seed(home, None),
        keystore.load_consensus_seed(home),
        keystore.load_peer_seed(home),
    }
    assert [len(seed) for seed in seeds] == [32, 32, 32]
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.keys.iterdir()} == {0o600}


def test_public_keys_belong_to_the_seeds(home):
    """What others are told of a home's keys is the public half of what lies in it."""
    keys = keystore.load_public_keys(home)
    assert keys.account == public_key(keystore.load_account_seed(home, None))
    assert keys.consensus == public_key(keystore.load_consensus_seed(home))
    assert keys.vrf == public(keystore.load_vrf_secret(home))


def test_the_peer_id_is_the_one_libp2p_derives(home):
    """Our base58 of the identity multihash equals the library's peer id."""
    pair = create_new_key_pair(keystore.load_peer_seed(home))
    assert keystore.load_public_keys(home).peer_id == str(ID.from_pubkey(pair.public_key))


def test_keys_are_never_replaced(home):
    """A second creation refuses and leaves all files as they were, also when only one of them is there."""
    before = {path: path.read_bytes() for path in home.keys.iterdir()}
    with pytest.raises(HomeExists):
        keystore.create_keys(home, None)
    (home.keys / "account.seed").unlink()
    with pytest.raises(HomeExists):
        keystore.create_keys(home, None)
    del before[home.keys / "account.seed"]
    assert {path: path.read_bytes() for path in home.keys.iterdir()} == before


@pytest.mark.parametrize("content", ["", "zz" * 32, "ab" * 31, "ab" * 33, "é"])
def test_a_damaged_key_is_refused_without_showing_it(home, content):
    """A key file that does not hold 32 bytes in hex is named, and its content is not."""
    (home.keys / "account.seed").write_text(content, encoding="utf-8")
    with pytest.raises(KeyInvalid) as caught:
        keystore.load_account_seed(home, None)
    assert "account.seed" in caught.value.message
    assert not content or content not in caught.value.message


def test_a_key_that_others_can_read_is_refused(home):
    """A key file with wider permissions stops the node, with the command that mends it."""
    path = home.keys / "consensus.seed"
    path.chmod(0o640)
    with pytest.raises(KeyInvalid) as caught:
        keystore.load_consensus_seed(home)
    assert caught.value.help == f"Run `chmod 600 {path}`."


def test_a_missing_key_is_named(home):
    """A key file that is gone is named."""
    (home.keys / "peer.seed").unlink()
    with pytest.raises(KeyInvalid, match=r"peer\.seed is missing"):
        keystore.load_peer_seed(home)


def files(home):
    """Return the names and contents of the key folder."""
    return {path.name: path.read_bytes() for path in home.keys.iterdir()}


def test_a_sealed_account_hides_its_seed_and_leaves_the_node_its_other_keys(sealed):
    """The passphrase opens the account; without it the address, the consensus key and the peer key are there."""
    seed = keystore.load_account_seed(sealed, PASSPHRASE)
    public_keys = keystore.load_public_keys(sealed)
    assert (public_key(seed), keystore.is_sealed(sealed)) == (public_keys.account, True)
    assert files(sealed).keys() == {"account.key", "consensus.seed", "peer.seed"}
    assert all(seed not in data and seed.hex().encode() not in data for data in files(sealed).values())
    assert stat.S_IMODE((sealed.keys / "account.key").stat().st_mode) == 0o600
    assert public_keys.consensus == public_key(keystore.load_consensus_seed(sealed))


def test_without_the_right_passphrase_the_account_stays_closed(sealed):
    """No passphrase, a wrong one, and one that differs in its last letter are all refused, each with its words."""
    with pytest.raises(KeyLocked, match="under a passphrase"):
        keystore.load_account_seed(sealed, None)
    for wrong in ("", OTHER, PASSPHRASE[:-1], PASSPHRASE + " "):
        with pytest.raises(WrongPassphrase, match="does not open"):
            keystore.load_account_seed(sealed, wrong)


def test_the_cost_of_a_guess_is_what_the_file_says():
    """The limits are libsodium's moderate ones: a guess costs 256 MiB and three passes."""
    assert (sealed_key.OPERATIONS, sealed_key.MEMORY_BYTES) == (3, 256 * 2**20)


@pytest.mark.parametrize("passphrase", ["", "1234567", "x" * 1025])
def test_a_bad_passphrase_is_refused_before_anything_is_made(tmp_path, passphrase):
    """Too short and too long passphrases leave no key behind."""
    home = Home(tmp_path / "home")
    home.create()
    with pytest.raises(UsageError, match="a passphrase has"):
        keystore.create_keys(home, passphrase)
    assert files(home) == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [("address", "ab" * 32), ("memory_bytes", 2**40), ("operations", 0), ("kdf", "scrypt"), ("version", 2), ("x", 1)],
)
def test_an_altered_file_is_no_key(sealed, field, value):
    """A file of another address, with limits beyond reason, of another kind or with more in it is refused."""
    path = sealed.keys / "account.key"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), field: value}))
    with pytest.raises(KeyInvalid):
        keystore.load_account_seed(sealed, PASSPHRASE)


def test_the_passphrase_changes_and_goes_and_comes_back(sealed):
    """Another passphrase, none, and one again always leave the same seed in exactly one file."""
    seed = keystore.load_account_seed(sealed, PASSPHRASE)
    with pytest.raises(WrongPassphrase):
        keystore.change_passphrase(sealed, old=OTHER, new=OTHER)
    for old, new in ((PASSPHRASE, OTHER), (OTHER, None), (None, PASSPHRASE)):
        keystore.change_passphrase(sealed, old=old, new=new)
        assert keystore.load_account_seed(sealed, new) == seed
        assert [name for name in files(sealed) if "account" in name] == [
            "account.seed" if new is None else "account.key"
        ]
    with pytest.raises(WrongPassphrase):
        keystore.load_account_seed(sealed, OTHER)


def test_a_backup_moves_an_account_to_another_home(sealed, home, tmp_path):
    """An exported key becomes another home's account; the one that was there stays under a name that says whose."""
    copy, old = tmp_path / "backup.key", keystore.load_address(home)
    before = keystore.load_account_seed(home, None)
    keystore.export_account(sealed, passphrase=PASSPHRASE, out=copy, out_passphrase=OTHER)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with pytest.raises(FileUnusable):
        keystore.export_account(sealed, passphrase=PASSPHRASE, out=copy, out_passphrase=OTHER)
    with pytest.raises(WrongPassphrase):
        keystore.import_account(home, copy, source_passphrase=PASSPHRASE, passphrase=None)
    moved = keystore.import_account(home, copy, source_passphrase=OTHER, passphrase=PASSPHRASE)
    assert moved == keystore.load_address(home) == keystore.load_address(sealed) != old
    assert files(home)[f"account-{old.hex()[:16]}.seed"] == before.hex().encode() + b"\n"
    with pytest.raises(UsageError, match="already"):
        keystore.import_account(home, copy, source_passphrase=OTHER, passphrase=None)
