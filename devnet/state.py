"""The devnet's folder: seven homes, the chain's document, the datasets, what the daemons print, and who holds it all.

.devnet/alice/ ... .devnet/grace/    homes, as `flocknode init` makes them
.devnet/genesis.json                 the chain's document; written last, so that it marks a finished folder
.devnet/data/                        of each dataset both evaluation sets and the trainers' private parts
.devnet/output/NAME.log              what each daemon printed
.devnet/flocknode.lock, .sock        the launcher that runs, and the socket it takes orders on
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from devnet.cast import CAST
from flocknode.home import Home
from flocknode.keystore import load_public_keys

DEFAULT = Path(__file__).resolve().parent.parent / ".devnet"
PRIVATE_DIRECTORY = 0o700


@dataclass(frozen=True)
class State:
    """The paths of a devnet; nothing is created or removed but by the methods that say so."""

    path: Path

    @property
    def genesis_file(self) -> Path:
        """The document of the chain."""
        return self.path / "genesis.json"

    @property
    def data(self) -> Path:
        """The folder of the datasets."""
        return self.path / "data"

    @property
    def control(self) -> Home:
        """The launcher's own socket, found like a daemon's."""
        return Home(self.path)

    @property
    def exists(self) -> bool:
        """Whether there is a finished devnet here."""
        return self.genesis_file.is_file()

    def home(self, name: str) -> Home:
        """Return a node's home."""
        return Home(self.path / name)

    def address(self, name: str) -> str:
        """Return the address of a node's account, in hex."""
        return load_public_keys(self.home(name)).account.hex()

    def output(self, name: str) -> Path:
        """Return the file of what a node's daemon prints."""
        return self.path / "output" / f"{name}.log"

    def dataset(self, name: str, part: str) -> Path:
        """Return the file of one part of a dataset: `a`, `b`, or `first` to `third` for the trainers."""
        return self.data / name / f"{part}.safetensors"

    def create(self) -> None:
        """Create the folders that homes and files go into."""
        for directory in (self.path, self.data, self.path / "output"):
            directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)

    def wipe(self) -> None:
        """Remove what a devnet is made of, and nothing else: the folder may be anybody's."""
        self.genesis_file.unlink(missing_ok=True)
        for name in ("data", "output", *(actor.name for actor in CAST)):
            shutil.rmtree(self.path / name, ignore_errors=True)
