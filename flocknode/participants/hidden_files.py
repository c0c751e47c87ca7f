"""The files of private rounds that nobody else may read: openings, own and others'. All go once the round is over."""

from pathlib import Path

from flocknode.participants.alliance_models import folder_of
from flocknode.participants.kit import Kit
from protocol.crypto import integer_bytes
from protocol.rules.alliance.records import ALLIANCES, CLOSED_PHASES, Alliance

PREFIX = "hidden"


def hidden_file(kit: Kit, alliance: Alliance, name: str) -> Path:
    """Return where a secret of the alliance's current round lies; only this account can look into the folder."""
    return folder_of(kit, alliance) / f"{PREFIX}-{alliance.round}-{name}"


def forget_finished(kit: Kit) -> None:
    """Delete all secrets of private rounds that are over, in files and in the diary."""
    for number, round in kit.diary.list_private() | set(_list_files(kit)):
        alliance = ALLIANCES.get(kit.chain.view, integer_bytes(number))
        # A log that is brought back from peers comes to an alliance later than its secrets are here.
        if alliance is None or (alliance.phase not in CLOSED_PHASES and alliance.round <= round):
            continue
        for path in kit.alliances.glob(f"{number}/{PREFIX}-{round}-*"):
            path.unlink(missing_ok=True)
        kit.diary.forget_private(number, round)


def _list_files(kit: Kit) -> list[tuple[int, int]]:
    """Return the alliance and the round of each secret file."""
    paths = kit.alliances.glob(f"*/{PREFIX}-*-*")
    return [(int(path.parent.name), int(path.name.split("-")[1])) for path in paths]
