"""The settings of one node: `config.toml`, generated with comments and read strictly.

Protocol parameters are no settings; they are in the genesis document and the same for all nodes of a chain.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from flocknode.errors import ConfigInvalid, UsageError
from flocknode.home import Home
from flocknode.rpc.records import Level
from storage.files import create_durably

MAX_CONFIG_BYTES = 256 * 1024
MAX_BOOTSTRAP = 64
# Below this not even one small model and its datasets fit.
MIN_QUOTA_BYTES = 16 * 1024**2
QUOTA_BYTES = 50 * 1024**3
# What a submission goes over when enough relays are there, and what it may make do with: with two of them, still none
# sees both who sent it and what it is.
MAX_HOPS = 3
MIN_HOPS = 2

NodeName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Multiaddress = Annotated[str, Meta(pattern="^/[!-~]+$", max_length=256)]


class NetworkConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How the node is reached and whom it dials first."""

    port: Port
    bootstrap: Annotated[tuple[Multiaddress, ...], Meta(max_length=MAX_BOOTSTRAP)]
    min_hops: Annotated[int, Meta(ge=1, le=MAX_HOPS)]


class BlobsConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What content-addressed files may take up on the disk."""

    quota_bytes: Annotated[int, Meta(ge=MIN_QUOTA_BYTES, le=2**63 - 1)]


class LogConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What is written down."""

    level: Level


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """All settings. Every key must be there: a file says what it means without knowing this program's defaults."""

    version: Literal[1]
    name: NodeName
    network: NetworkConfig
    blobs: BlobsConfig
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
# A trainer's submissions leave through 3 relays, and never directly. With so many at least they may leave when no more
# are there and half of the phase is over. 1 gives the sender away to that one relay; for small private networks.
min_hops = {min_hops}

[blobs]
# How many bytes weights and datasets may take up. What running tasks need is never removed, the oldest of the rest is.
quota_bytes = {quota_bytes}

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
        "min_hops": config.network.min_hops,
        "quota_bytes": config.blobs.quota_bytes,
        "level": config.log.level,
    }
    return TEMPLATE.format(**{key: msgspec.json.encode(value).decode() for key, value in spell.items()})


def parse_config(text: bytes, *, source: str, help: str | None = None) -> Config:
    """Return the settings; raise `ConfigInvalid` naming the source, what is wrong and the path of the key.

    `help` says what to do about it, if not to edit the source.
    """
    try:
        return msgspec.toml.decode(text, type=Config)
    except msgspec.ValidationError as error:
        raise ConfigInvalid(f"{source}: {error}", help=help or f"Correct the key in {source}.") from error
    except msgspec.DecodeError as error:
        raise ConfigInvalid(f"{source} is not TOML: {error}", help=f"Correct {source}.") from error


def make_config(*, name: str, port: int, bootstrap: tuple[str, ...]) -> Config:
    """Return the settings of a new node; raise `ConfigInvalid` when a value is not allowed."""
    plain = {
        "version": 1,
        "name": name,
        "network": {"port": port, "bootstrap": bootstrap, "min_hops": MIN_HOPS},
        "blobs": {"quota_bytes": QUOTA_BYTES},
        "log": {"level": "info"},
    }
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
    _write(home, format_config(config))


def list_settings(config: Config) -> dict[str, object]:
    """Return every setting by its name, such as `network.port`."""
    return dict(_flatten(msgspec.to_builtins(config), ""))


def change_setting(home: Home, name: str, value: object) -> Config:
    """Change one setting in the config file, and leave all its other lines as they are; return the new settings.

    Raises `UsageError` for an unknown name, `ConfigInvalid` for a value that is not allowed.
    """
    settings = list_settings(load_config(home))
    if name not in settings:
        raise UsageError(f"there is no setting {name!r}", help=f"Settings: {', '.join(settings)}.")
    text = home.config_file.read_text(encoding="utf-8")
    changed = _replace_value(text, name, msgspec.json.encode(value).decode())
    unchanged = f"{home.config_file} is as it was; its comments say what {name} can be."
    config = parse_config(changed.encode(), source=f"{name} = {value}", help=unchanged)
    if list_settings(config) != {**settings, name: msgspec.to_builtins(value)}:
        raise ConfigInvalid(
            f"{home.config_file} is laid out in a way that only a person can change", help="Edit it by hand."
        )
    _write(home, changed)
    return config


def _flatten(plain: dict[str, Any], prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in plain.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value


def _replace_value(text: str, name: str, spelled: str) -> str:
    """Return the file with the line of a setting replaced, as long as the setting takes one line."""
    *tables, key = name.split(".")
    wanted, table, lines = ".".join(tables), "", []
    for line in text.split("\n"):
        header = re.fullmatch(r"\s*\[([^\[\]]+)\]\s*(#.*)?", line)
        table = header[1].strip() if header else table
        is_it = table == wanted and re.match(rf"\s*{re.escape(key)}\s*=", line)
        lines.append(f"{key} = {spelled}" if is_it else line)
    return "\n".join(lines)


def _write(home: Home, text: str) -> None:
    temporary = home.config_file.with_suffix(".new")
    create_durably(home.config_file, text.encode(), temporary=temporary)
