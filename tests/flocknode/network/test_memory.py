"""What is kept of peers across restarts."""

import json
from pathlib import Path

import pytest
import structlog
import trio
from trio.testing import MockClock

from flocknode.network.addresses import AddressBook, parse_address
from flocknode.network.conduct import Conduct
from flocknode.network.errors import Misbehaviour
from flocknode.network.memory import PeerMemory
from flocknode.network.vouchers import make_voucher
from protocol.codec import encode

PEER = "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq"
ADDRESS = parse_address(f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER}")


def make(path: Path | None, now_ms: int) -> tuple[PeerMemory, AddressBook, Conduct]:
    book, conduct = AddressBook(), Conduct()
    memory = PeerMemory(path, chain=b"c" * 32, book=book, conduct=conduct, wall_clock=lambda: now_ms)
    return memory, book, conduct


async def test_addresses_and_refusals_outlast_a_restart_and_hearsay_does_not(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A refusal ends when it would have ended, by the wall clock, whatever the process did meanwhile."""
    memory, book, conduct = make(tmp_path / "peers.json", now_ms=1_000_000)
    voucher = make_voucher(b"s" * 32, b"c" * 32, PEER)
    book.learn(ADDRESS, source=PEER, voucher=voucher)
    book.learn(ADDRESS._replace(peer="rumour"), source="gossip")
    conduct.blame("rude", Misbehaviour("garbage", points=100))
    memory.save()
    memory, book, conduct = make(tmp_path / "peers.json", now_ms=1_020_000)
    memory.restore()
    assert [(entry.address, entry.voucher) for entry in book.entries()] == [(ADDRESS, voucher)]
    assert conduct.is_refused("rude")
    await trio.sleep(39.9)
    assert conduct.is_refused("rude")
    await trio.sleep(0.2)
    assert not conduct.is_refused("rude")
    assert conduct.refusals()["rude"].times == 1


@pytest.mark.parametrize("text", ["", "{", '{"version": 2, "addresses": [], "refusals": []}', "[" * 5_000_000])
async def test_a_damaged_file_begins_anew_and_says_so(tmp_path: Path, text: str) -> None:
    """It is a cache: the node starts without it."""
    (tmp_path / "peers.json").write_text(text)
    memory, book, _ = make(tmp_path / "peers.json", now_ms=0)
    with structlog.testing.capture_logs() as records:
        memory.restore()
    assert [record["log_level"] for record in records] == ["warning"]
    assert not len(book)


async def test_one_wrong_address_costs_only_itself(tmp_path: Path) -> None:
    """The others are kept: neither what is no address nor another peer's voucher does harm."""
    wrong = encode(make_voucher(b"s" * 32, b"c" * 32, "another")).hex()
    addresses = [("/ip4/x", None), (str(ADDRESS), None), (str(ADDRESS), wrong), (str(ADDRESS), "zz")]
    kept = [{"address": address, "voucher": voucher} for address, voucher in addresses]
    (tmp_path / "peers.json").write_text(json.dumps({"version": 1, "addresses": kept, "refusals": []}))
    memory, book, _ = make(tmp_path / "peers.json", now_ms=0)
    memory.restore()
    assert [(entry.address, entry.voucher) for entry in book.entries()] == [(ADDRESS, None)]


async def test_a_file_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """A full disk is told of; and without a file nothing is kept."""
    memory, _, _ = make(tmp_path / "missing" / "peers.json", now_ms=0)
    with structlog.testing.capture_logs() as records:
        memory.save()
    assert "cannot be kept" in records[0]["event"]
    memory, _, _ = make(None, now_ms=0)
    memory.restore()
    memory.save()
