"""The config file: what is written reads back, and every mistake is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flocknode.config import (
    change_setting,
    format_config,
    list_settings,
    load_config,
    make_config,
    parse_config,
    save_config,
)
from flocknode.errors import ConfigInvalid, HomeMissing, UsageError
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
        ("min_hops = 2", "min_hops = 0", "$.network.min_hops"),
        ("min_hops = 2", "min_hops = 4", "$.network.min_hops"),
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


@pytest.fixture
def home(tmp_path):
    """A home with settings, and a remark of its owner among them."""
    home = Home(tmp_path)
    home.config_file.write_text(VALID.replace("[network]", "# mine\n[network]  # and this"))
    return home


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "bob"),
        ("network.port", 0),
        ("network.bootstrap", []),
        ("network.bootstrap", ["/a", "/b"]),
        ("log.level", "debug"),
    ],
)
def test_a_setting_changes_alone(home, name, value):
    """One value is another, all other lines stay as they were, remarks included."""
    before, lines = list_settings(load_config(home)), home.config_file.read_text().splitlines()
    changed = change_setting(home, name, value)
    assert list_settings(changed) == list_settings(load_config(home)) == {**before, name: value}
    after = home.config_file.read_text().splitlines()
    assert sum(old != new for old, new in zip(lines, after, strict=True)) == 1


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("network.prot", 1, UsageError),
        ("port", 1, UsageError),
        ("network.port", 70_000, ConfigInvalid),
        ("name", "a b", ConfigInvalid),
    ],
)
def test_a_wrong_change_leaves_the_file(home, name, value, error):
    """An unknown name and a value that is not allowed are named, and the file stays as it was."""
    before = home.config_file.read_bytes()
    with pytest.raises(error, match=r"network\.port|there is no setting|name"):
        change_setting(home, name, value)
    assert home.config_file.read_bytes() == before


def test_a_layout_that_is_not_understood_is_left_to_a_person(home):
    """A list over several lines is not half replaced."""
    text = home.config_file.read_text()
    home.config_file.write_text(text.replace("bootstrap = [", "bootstrap = [\n"))
    with pytest.raises(ConfigInvalid):
        change_setting(home, "network.bootstrap", [])
    assert load_config(home).network.bootstrap
