"""The settings of one node: `config.toml`, generated with comments and read strictly.

Protocol parameters are no settings; they are in the genesis document and the same for all nodes of a chain.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from flocknode.errors import ConfigInvalid
from flocknode.home import Home
from flocknode.rpc.records import Level

MAX_CONFIG_BYTES = 256 * 1024
MAX_BOOTSTRAP = 64

NodeName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Multiaddress = Annotated[str, Meta(pattern="^/[!-~]+$", max_length=256)]


class NetworkConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How the node is reached and whom it dials first."""

    port: Port
    bootstrap: Annotated[tuple[Multiaddress, ...], Meta(max_length=MAX_BOOTSTRAP)]


class LogConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What is written down."""

    level: Level


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """All settings. Every key must be there: a file says what it means without knowing this program's defaults."""

    version: Literal[1]
    name: NodeName
    network: NetworkConfig
    log: LogConfig


TEMPLATE = """\
# Settings of this flocknode. Changes take effect at the next start.
version = 1

# The name that this node's own log lines and `flocknode status` show.
name = {name}

[network]
# The TCP port on 127.0.0.1. 0: the system chooses one at the first start, which is then kept in the file `port`.
port = {port}
# Addresses of nodes to dial at the start, such as "/ip4/127.0.0.1/tcp/4001/p2p/12D3Koo...".
bootstrap = {bootstrap}

[log]
# The least important lines to write: "debug", "info", "warning" or "error".
level = {level}
"""


def format_config(config: Config) -> str:
    """Return the text of a config file, comments included, that parses back to the same settings."""
    # JSON spells these strings and lists the way TOML does; the types allow no control characters.
    spell = {
        "name": config.name,
        "port": config.network.port,
        "bootstrap": config.network.bootstrap,
        "level": config.log.level,
    }
    return TEMPLATE.format(**{key: msgspec.json.encode(value).decode() for key, value in spell.items()})


def parse_config(text: bytes, *, source: str) -> Config:
    """Return the settings; raise `ConfigInvalid` naming the source, what is wrong and the path of the key."""
    try:
        return msgspec.toml.decode(text, type=Config)
    except msgspec.ValidationError as error:
        raise ConfigInvalid(f"{source}: {error}", help=f"Correct the key in {source}.") from error
    except msgspec.DecodeError as error:
        raise ConfigInvalid(f"{source} is not TOML: {error}", help=f"Correct {source}.") from error


def make_config(*, name: str, port: int, bootstrap: tuple[str, ...]) -> Config:
    """Return the settings of a new node; raise `ConfigInvalid` when a value is not allowed."""
    plain = {"version": 1, "name": name, "network": {"port": port, "bootstrap": bootstrap}, "log": {"level": "info"}}
    try:
        return msgspec.convert(plain, Config)
    except msgspec.ValidationError as error:
        raise ConfigInvalid(f"the settings are not allowed: {error}") from error


def load_config(home: Home) -> Config:
    """Return the settings of a home. Raises `HomeMissing` or `ConfigInvalid`."""
    home.require()
    if home.config_file.stat().st_size > MAX_CONFIG_BYTES:
        raise ConfigInvalid(f"{home.config_file} is larger than {MAX_CONFIG_BYTES} bytes")
    return parse_config(home.config_file.read_bytes(), source=str(home.config_file))


def save_config(home: Home, config: Config) -> None:
    """Write the config file with its comments."""
    home.config_file.write_text(format_config(config), encoding="utf-8")
