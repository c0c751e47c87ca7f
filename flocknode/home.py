"""The home folder of one node: where everything lies, and which socket leads to its daemon.

Layout: `config.toml`, `genesis.json`, `keys/`, `data/` (LevelDB, write-ahead log, known peers), `blobs/`,
`logs/flocknode.jsonl`, `flocknode.sock`, and `rpc.path` when the socket had to go elsewhere.
"""

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from flocknode.errors import ConfigInvalid, FlocknodeError, HomeMissing

# The longest path that a Unix socket takes on Linux, without its final zero byte (man 7 unix).
MAX_SOCKET_PATH_BYTES = 107
MAX_GENESIS_BYTES = 16 * 1024 * 1024
PRIVATE_DIRECTORY = 0o700


@dataclass(frozen=True)
class Home:
    """The paths of a home; nothing is opened or created but by the methods that say so."""

    path: Path

    @property
    def config_file(self) -> Path:
        """The settings of the node, for a person to edit."""
        return self.path / "config.toml"

    @property
    def genesis_file(self) -> Path:
        """The genesis document of the chain, as JSON."""
        return self.path / "genesis.json"

    @property
    def keys(self) -> Path:
        """The folder of secret keys."""
        return self.path / "keys"

    @property
    def data(self) -> Path:
        """The folder of the database and the write-ahead log."""
        return self.path / "data"

    @property
    def database(self) -> Path:
        """The folder of the log, the state and the participants' notes."""
        return self.data / "chain"

    @property
    def journal(self) -> Path:
        """The write-ahead log of the replica."""
        return self.data / "consensus.wal"

    @property
    def blobs(self) -> Path:
        """The folder of content-addressed files."""
        return self.path / "blobs"

    @property
    def outbox(self) -> Path:
        """The folder of own submissions' blobs, which nobody else is served until they are claimed."""
        return self.data / "outbox"

    @property
    def alliances(self) -> Path:
        """The own data of alliances, cut into training and test rows: it never leaves this folder."""
        return self.data / "alliances"

    @property
    def peers_file(self) -> Path:
        """What is known of peers: addresses and refusals; a cache."""
        return self.data / "peers.json"

    @property
    def log_file(self) -> Path:
        """The newest log file, JSON lines."""
        return self.path / "logs" / "flocknode.jsonl"

    @property
    def socket_reference(self) -> Path:
        """The file that names the socket when it lies outside the home."""
        return self.path / "rpc.path"

    @property
    def port_file(self) -> Path:
        """Where the port is kept that the system gave at the first start."""
        return self.path / "port"

    def create(self) -> None:
        """Create the folders, readable by their owner alone."""
        for directory in (self.path, self.keys, self.data, self.blobs, self.log_file.parent):
            directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        self.path.chmod(PRIVATE_DIRECTORY)

    def require(self) -> None:
        """Return if there is a node here; raise `HomeMissing` otherwise."""
        if not self.config_file.is_file():
            raise HomeMissing(
                f"there is no node in {self.path}",
                help=f"Create one with `flocknode init --home {self.path}`, or name another folder with --home.",
            )

    def choose_socket(self) -> Path:
        """Return where the daemon shall listen, and leave `rpc.path` behind when that is outside the home."""
        inside = self.path.absolute() / "flocknode.sock"
        if len(os.fsencode(inside)) <= MAX_SOCKET_PATH_BYTES:
            self.socket_reference.unlink(missing_ok=True)
            return inside
        name = hashlib.sha256(os.fsencode(self.path.resolve())).hexdigest()[:16]
        outside = _runtime_directory() / f"{name}.sock"
        self.socket_reference.write_text(f"{outside}\n", encoding="utf-8")
        return outside

    def find_socket(self) -> Path:
        """Return where clients find the daemon's socket, whether or not one listens there."""
        if self.socket_reference.is_file():
            return Path(self.socket_reference.read_text(encoding="utf-8").strip())
        return self.path.absolute() / "flocknode.sock"

    def load_port(self) -> int:
        """Return the port of the last start, 0 before the first."""
        if not self.port_file.is_file():
            return 0
        text = self.port_file.read_text(encoding="ascii").strip()
        if not text.isdigit() or not 0 < int(text) < 2**16:
            raise ConfigInvalid(f"{self.port_file} does not hold a port", help=f"Remove {self.port_file}.")
        return int(text)

    def save_port(self, port: int) -> None:
        """Keep the port, so that the addresses that other nodes stored stay true."""
        self.port_file.write_text(f"{port}\n", encoding="ascii")


def load_names(home: Home) -> dict[str, str]:
    """Return the names that the genesis document gives to accounts and to their consensus keys, by hex key.

    For people only; empty while there is no genesis document. Raises `ConfigInvalid` when it is not one.
    """
    if not home.genesis_file.is_file():
        return {}
    document = read_genesis(home)
    try:
        names = {account["address"]: account["name"] for account in document["accounts"]}
        return names | {replica["key"]: names[replica["account"]] for replica in document["replicas"]}
    except (KeyError, TypeError) as error:
        raise ConfigInvalid(f"{home.genesis_file} is not a genesis document: {error!r}") from error


def read_genesis(home: Home) -> dict[str, list[dict[str, str]]]:
    """Return the JSON of the genesis document, unchecked. Raises `ConfigInvalid` when it is missing or no JSON."""
    if not home.genesis_file.is_file():
        raise ConfigInvalid(
            f"{home.genesis_file} is missing",
            help=f"Put the chain's document there with `flocknode init --genesis FILE --home {home.path}`.",
        )
    if home.genesis_file.stat().st_size > MAX_GENESIS_BYTES:
        raise ConfigInvalid(f"{home.genesis_file} is larger than {MAX_GENESIS_BYTES} bytes")
    try:
        return json.loads(home.genesis_file.read_bytes())  # type: ignore[no-any-return]
    except ValueError as error:
        raise ConfigInvalid(f"{home.genesis_file} is not JSON: {error}") from error


def _runtime_directory() -> Path:
    """Return a folder with a short path that only this user can enter."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    directory = Path(base) / "flocknode" if base else Path(tempfile.gettempdir()) / f"flocknode-{os.getuid()}"
    directory.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
    found = directory.lstat()
    if directory.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise FlocknodeError(
            f"{directory} is not a folder of this user alone, so the socket cannot go there",
            help="Choose a --home with a shorter path, or set XDG_RUNTIME_DIR.",
        )
    return directory
