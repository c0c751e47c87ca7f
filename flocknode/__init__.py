"""The daemon: touches the world on behalf of one participant. Rules live in `protocol`, durable bytes in `storage`."""

import protocol
import storage

__version__ = "0.1.0"

for _package in (protocol, storage):
    if getattr(_package, "DISTRIBUTION", None) != "flocknode":
        raise ImportError(
            f"another distribution owns the package {_package.__name__!r} ({_package.__file__}); "
            "install flocknode into a virtual environment of its own"
        )
