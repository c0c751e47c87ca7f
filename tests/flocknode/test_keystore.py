"""Key files: private, never replaced, refused when damaged; and peer ids as libp2p makes them."""

import stat

import pytest
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID

from flocknode import keystore
from flocknode.errors import HomeExists, KeyInvalid
from flocknode.home import Home
from protocol.crypto import public_key
from protocol.vrf import public


@pytest.fixture
def home(tmp_path):
    """A home with fresh keys."""
    home = Home(tmp_path / "home")
    home.create()
    keystore.create_keys(home)
    return home


def test_three_distinct_keys_in_private_files(home):
    """Account, consensus and peer keys differ, and only their owner can read them."""
    seeds = {
        keystore.load_account_seed(home),
        keystore.load_consensus_seed(home),
        keystore.load_peer_seed(home),
    }
    assert [len(seed) for seed in seeds] == [32, 32, 32]
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.keys.iterdir()} == {0o600}


def test_public_keys_belong_to_the_seeds(home):
    """What others are told of a home's keys is the public half of what lies in it."""
    keys = keystore.load_public_keys(home)
    assert keys.account == public_key(keystore.load_account_seed(home))
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
        keystore.create_keys(home)
    (home.keys / "account.seed").unlink()
    with pytest.raises(HomeExists):
        keystore.create_keys(home)
    del before[home.keys / "account.seed"]
    assert {path: path.read_bytes() for path in home.keys.iterdir()} == before


@pytest.mark.parametrize("content", ["", "zz" * 32, "ab" * 31, "ab" * 33, "é"])
def test_a_damaged_key_is_refused_without_showing_it(home, content):
    """A key file that does not hold 32 bytes in hex is named, and its content is not."""
    (home.keys / "account.seed").write_text(content, encoding="utf-8")
    with pytest.raises(KeyInvalid) as caught:
        keystore.load_account_seed(home)
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
