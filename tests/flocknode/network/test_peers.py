"""Addresses of peers, and what misbehaviour costs."""

import pytest
import trio
from trio.testing import MockClock

from flocknode.errors import UsageError
from flocknode.network.errors import Misbehaviour
from flocknode.network.peers import MAX_REMEMBERED_PEERS, REFUSAL_S, Conduct, parse_address

PEER = "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq"


def test_an_address_is_read_and_written() -> None:
    """The text of an address survives the round trip."""
    text = f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER}"
    address = parse_address(text)
    assert (address.host, address.port, address.peer) == ("127.0.0.1", 4001, PEER)
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "nonsense", "/ip4/127.0.0.1/tcp/4001", f"/ip4/1.2.3/tcp/1/p2p/{PEER}", "/ip4/127.0.0.1/tcp/1/p2p/no"]
)
def test_a_wrong_address_is_refused_by_name(text: str) -> None:
    """A typo in the bootstrap list is shown, with the form that is expected."""
    with pytest.raises(UsageError, match="is not an address of a peer"):
        parse_address(text)


async def test_points_fade_and_a_refusal_ends(autojump_clock: MockClock) -> None:
    """Small faults now and then cost nothing; many at once refuse the peer for a while."""
    conduct = Conduct()
    for _ in range(10):
        conduct.blame("clumsy", Misbehaviour("small", points=50))
        await trio.sleep(60)
    assert not conduct.is_refused("clumsy")
    conduct.blame("rude", Misbehaviour("garbage", points=100))
    assert conduct.is_refused("rude")
    await trio.sleep(REFUSAL_S)
    assert not conduct.is_refused("rude")


async def test_memory_of_faults_is_bounded() -> None:
    """A crowd of identities does not grow the memory without end."""
    conduct = Conduct()
    for number in range(MAX_REMEMBERED_PEERS + 10):
        conduct.blame(f"peer{number}", Misbehaviour("garbage", points=100))
    assert len(conduct._points) == len(conduct._refused_until) == MAX_REMEMBERED_PEERS
