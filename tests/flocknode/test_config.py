"""The config file: what is written reads back, and every mistake is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flocknode.config import format_config, load_config, make_config, parse_config, save_config
from flocknode.errors import ConfigInvalid, HomeMissing
from flocknode.home import Home

VALID = format_config(make_config(name="alice", port=4001, bootstrap=("/ip4/127.0.0.1/tcp/4002/p2p/12D3",)))
NAMES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
ADDRESSES = st.from_regex(r"\A/[!-~]{1,255}\Z")


@given(name=NAMES, port=st.integers(0, 65_535), bootstrap=st.lists(ADDRESSES, max_size=3).map(tuple))
def test_every_config_reads_back(name, port, bootstrap):
    """The generated file, comments and all, means exactly the settings it was made from."""
    config = make_config(name=name, port=port, bootstrap=bootstrap)
    assert parse_config(format_config(config).encode(), source="config.toml") == config


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("port = 4001", "prot = 4001", "`prot` - at `$.network`"),
        ("port = 4001", "port = 70000", "$.network.port"),
        ("port = 4001", 'port = "4001"', "$.network.port"),
        ('level = "info"', 'level = "loud"', "$.log.level"),
        ('name = "alice"', "", "`name`"),
        ('name = "alice"', 'name = "al ice"', "$.name"),
        ("version = 1", "version = 2", "$.version"),
        ('"/ip4', '"ip4', "$.network.bootstrap[0]"),
        ("version = 1", "version = ", "not TOML"),
    ],
)
def test_a_mistake_is_named_with_its_path(old, new, named):
    """An unknown key, a wrong type and a value out of range each name the file and the key's path."""
    assert old in VALID
    with pytest.raises(ConfigInvalid) as caught:
        parse_config(VALID.replace(old, new).encode(), source="/h/config.toml")
    assert named in caught.value.message
    assert "/h/config.toml" in caught.value.message


def test_settings_are_kept_in_the_home(tmp_path):
    """What was saved is loaded; a home without a config is no node; settings out of range are never made."""
    home = Home(tmp_path)
    with pytest.raises(HomeMissing):
        load_config(home)
    config = make_config(name="bob", port=0, bootstrap=())
    save_config(home, config)
    assert load_config(home) == config
    with pytest.raises(ConfigInvalid, match=r"\$\.network\.port"):
        make_config(name="bob", port=-1, bootstrap=())
