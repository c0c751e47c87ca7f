"""Peers tell each other of peers (`/flock/peers/1`): one question and one answer on a stream.

Told is only what was linked or reached. A receiver believes nobody but a peer about itself; the rest it tries out.
"""

import random
from typing import Annotated

import structlog
import trio
from msgspec import Meta

from flocknode.errors import UsageError
from flocknode.network.addresses import AddressBook, parse_address
from flocknode.network.errors import Misbehaviour, PeerUnreachable, StreamLost
from flocknode.network.host import Connection
from flocknode.network.messages import PeerId
from flocknode.network.streams import MALFORMED_POINTS, Stream, frame
from flocknode.network.vouchers import Voucher, verify_voucher
from protocol.errors import InvalidSignature
from protocol.types import Record

PROTOCOL = "/flock/peers/1"
MAX_CONTACTS = 32
MAX_ADDRESS_CHARACTERS = 256
MAX_QUESTION_BYTES = 16
MAX_ANSWER_BYTES = MAX_CONTACTS * (MAX_ADDRESS_CHARACTERS + 128)
ANSWER_S = 5.0

log = structlog.get_logger("flocknode.network")


class ContactsAsked(Record, tag=0):
    """Asks for peers."""


class Contact(Record):
    """Where a peer listens, and the replica that it speaks for, if it is one's node."""

    address: Annotated[str, Meta(max_length=MAX_ADDRESS_CHARACTERS)]
    voucher: Voucher | None


class ContactsTold(Record, tag=1):
    """Some peers that the sender knows, not all and in no order."""

    contacts: Annotated[tuple[Contact, ...], Meta(max_length=MAX_CONTACTS)]


async def serve_contacts(stream: Stream, book: AddressBook, rng: random.Random) -> None:
    """Answer one question. Raises `StreamLost` and `Misbehaviour`."""
    with trio.move_on_after(ANSWER_S):
        await stream.read_record(ContactsAsked, MAX_QUESTION_BYTES)
        contacts = tuple(Contact(str(entry.address), entry.voucher) for entry in book.sample(MAX_CONTACTS, rng))
        await stream.write(frame(ContactsTold(contacts)))


async def ask_contacts(connection: Connection, chain: bytes, book: AddressBook, *, own_peer: PeerId) -> None:
    """Ask a peer for others and note them in the book. Raises `Misbehaviour`; a peer that does not answer is let be."""
    try:
        async with connection.stream(PROTOCOL) as stream:
            with trio.fail_after(ANSWER_S):
                await stream.write(frame(ContactsAsked()))
                answer = await stream.read_record(ContactsTold, MAX_ANSWER_BYTES)
    except (PeerUnreachable, StreamLost, trio.TooSlowError) as error:
        log.debug("no peers told", peer=connection.peer, error=repr(error))
        return
    for contact in answer.contacts:
        _learn(contact, chain, book, source=connection.peer, own_peer=own_peer)


def _learn(contact: Contact, chain: bytes, book: AddressBook, *, source: PeerId, own_peer: PeerId) -> None:
    try:
        address = parse_address(contact.address)
        if contact.voucher is not None:
            verify_voucher(contact.voucher, chain, address.peer)
    except (UsageError, InvalidSignature) as error:
        raise Misbehaviour(f"told of a peer that cannot be: {error}", points=MALFORMED_POINTS) from error
    # What a peer says of itself stands in its hello.
    if address.peer not in (source, own_peer):
        book.learn(address, source=source, voucher=contact.voucher)
