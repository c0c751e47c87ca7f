"""What a node keeps of its peers across restarts: one JSON file of addresses and refusals, a cache and no more.

Times in the file are milliseconds since the Unix epoch, those of the parts seconds of a monotonic clock.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import structlog
import trio
from msgspec import Meta, Struct

from flocknode.errors import UsageError
from flocknode.network.addresses import MAX_ADDRESSES, Address, AddressBook, parse_address
from flocknode.network.conduct import MAX_REMEMBERED_PEERS, Conduct, Refusal
from flocknode.network.vouchers import Voucher, verify_voucher
from protocol.codec import decode, encode
from protocol.errors import ProtocolError
from storage.files import create_durably

MAX_FILE_BYTES = 4 * 1024 * 1024

MAX_TEXT = 512
# How often the file is written while the node runs.
SAVE_S = 60.0

Text = Annotated[str, Meta(max_length=MAX_TEXT)]

log = structlog.get_logger("flocknode.network")


class KeptAddress(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a peer was reached, and the voucher it showed, if any, as the hex of its bytes."""

    address: Text
    voucher: Text | None


class KeptRefusal(Struct, frozen=True, forbid_unknown_fields=True):
    """A refusal that is in force or would make the next one longer."""

    peer: Text
    reason: Text
    until_ms: int
    times: Annotated[int, Meta(ge=1)]


class Memory(Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    version: Literal[1]
    addresses: Annotated[tuple[KeptAddress, ...], Meta(max_length=MAX_ADDRESSES)]
    refusals: Annotated[tuple[KeptRefusal, ...], Meta(max_length=MAX_REMEMBERED_PEERS)]


class PeerMemory:
    """Carries addresses and refusals over restarts, where there is a file for them.

    `wall_clock` returns milliseconds since the Unix epoch.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        chain: bytes,
        book: AddressBook,
        conduct: Conduct,
        wall_clock: Callable[[], int],
    ) -> None:
        self._path = path
        self._chain = chain
        self._book = book
        self._conduct = conduct
        self._wall_clock = wall_clock

    async def run(self) -> None:
        """Write the file now and then until cancelled."""
        while True:
            await trio.sleep(SAVE_S)
            await trio.to_thread.run_sync(self._write, self._collect())

    def save(self) -> None:
        """Write the file at once."""
        self._write(self._collect())

    def restore(self) -> None:
        """Hand what was kept back to the parts."""
        if self._path is None:
            return
        memory, now, now_ms = load_memory(self._path), trio.current_time(), self._wall_clock()
        for kept in memory.addresses:
            try:
                address, voucher = self._open(kept)
            except (UsageError, ProtocolError, ValueError) as error:
                log.warning("a kept address cannot be used", address=kept.address, reason=str(error))
                continue
            self._book.learn(address, source=address.peer, voucher=voucher)
        for refusal in memory.refusals:
            until = now + (refusal.until_ms - now_ms) / 1000
            self._conduct.restore(refusal.peer, Refusal(refusal.reason, until, refusal.times))

    def _open(self, kept: KeptAddress) -> tuple[Address, Voucher | None]:
        address = parse_address(kept.address)
        if kept.voucher is None:
            return address, None
        voucher = decode(bytes.fromhex(kept.voucher), Voucher)
        verify_voucher(voucher, self._chain, address.peer)
        return address, voucher

    def _collect(self) -> Memory:
        """Return what is worth keeping: hearsay is not."""
        now, now_ms = trio.current_time(), self._wall_clock()
        return Memory(
            version=1,
            addresses=tuple(
                KeptAddress(str(entry.address), None if entry.voucher is None else encode(entry.voucher).hex())
                for entry in self._book.entries()
                if entry.is_proven
            ),
            refusals=tuple(
                KeptRefusal(
                    peer, refusal.reason[:MAX_TEXT], now_ms + round(1000 * (refusal.until - now)), refusal.times
                )
                for peer, refusal in self._conduct.refusals().items()
            ),
        )

    def _write(self, memory: Memory) -> None:
        if self._path is None:
            return
        try:
            create_durably(self._path, msgspec.json.encode(memory), temporary=self._path.with_suffix(".tmp"))
        except OSError as error:
            log.warning("what is known of peers cannot be kept", file=str(self._path), reason=str(error))


def load_memory(path: Path) -> Memory:
    """Return the file's content, or an empty memory, with a warning when what is there cannot be used."""
    nothing = Memory(version=1, addresses=(), refusals=())
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"larger than {MAX_FILE_BYTES} bytes")
        return msgspec.json.decode(path.read_bytes(), type=Memory)
    except FileNotFoundError:
        return nothing
    except (OSError, ValueError) as error:
        log.warning("what was kept of peers cannot be used, and begins anew", file=str(path), reason=str(error))
        return nothing
