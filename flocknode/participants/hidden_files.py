"""What a private round leaves in this home: openings, own and others', and hidden updates in the blob store.

All of it goes once the round is over. Nobody needs a sealed update any more then, but every home that keeps one is a
place where it waits for the day that its aggregator's key leaks.
"""

from collections.abc import Iterable
from pathlib import Path

from flocknode.participants.alliance_models import folder_of
from flocknode.participants.kit import Kit
from protocol.blobs import BlobId
from protocol.crypto import integer_bytes
from protocol.rules.alliance.commitments import is_private
from protocol.rules.alliance.records import ALLIANCES, CLOSED_PHASES, Alliance

PREFIX = "hidden"


def hidden_file(kit: Kit, alliance: Alliance, name: str) -> Path:
    """Return where a secret of the alliance's current round lies; only this account can look into the folder."""
    return folder_of(kit, alliance) / f"{PREFIX}-{alliance.round}-{name}"


def note_updates(kit: Kit, alliance: Alliance, blobs: Iterable[BlobId]) -> None:
    """Keep in mind that updates of the alliance's round are in the store, or about to be, if they are hidden."""
    if is_private(alliance):
        for blob in blobs:
            kit.diary.save_held(alliance.id, alliance.round, blob)


def forget_finished(kit: Kit) -> None:
    """Delete all secrets of private rounds that are over, in files and in the diary, and the hidden updates."""
    for number, round in kit.diary.list_private() | set(_list_files(kit)):
        alliance = ALLIANCES.get(kit.chain.view, integer_bytes(number))
        # A log that is brought back from peers comes to an alliance later than its secrets are here.
        if alliance is None or (alliance.phase not in CLOSED_PHASES and alliance.round <= round):
            continue
        for path in kit.alliances.glob(f"{number}/{PREFIX}-{round}-*"):
            path.unlink(missing_ok=True)
        left = [blob for blob in kit.diary.list_held(number, round) if not kit.blobs.discard(blob)]
        # What is on its way still goes with a later block.
        if not left:
            kit.diary.forget_private(number, round)


def _list_files(kit: Kit) -> list[tuple[int, int]]:
    """Return the alliance and the round of each secret file."""
    paths = kit.alliances.glob(f"*/{PREFIX}-*-*")
    return [(int(path.parent.name), int(path.name.split("-")[1])) for path in paths]
