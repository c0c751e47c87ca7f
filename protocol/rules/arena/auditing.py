"""What anyone may check once a task's keys are public: what validators had to judge, and whether they said what is so.

Pure: the evaluation itself is done elsewhere, from the blobs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from protocol.crypto import integer_bytes
from protocol.params import Params
from protocol.rules.arena.copies import Origin, Original, get_origin
from protocol.rules.arena.explaining import load_replay
from protocol.rules.arena.records import Task, get_epoch, scan_sheets
from protocol.rules.arena.results import RESULTS
from protocol.state import StateView
from protocol.transactions import ScoreEntry, Verdict


@dataclass(frozen=True)
class Comparison:
    """What a validator revealed of a submission, beside what the audit found; `agrees` is None for an abstention."""

    epoch: int
    validator: bytes
    said: ScoreEntry
    found: ScoreEntry
    agrees: bool | None


def count_settled(state: StateView, task: Task) -> int:
    """Return how many epochs of a task are settled."""
    return sum(1 for _ in RESULTS.scan(state, integer_bytes(task.id)))


def find_public_key(state: StateView, task: Task, epoch: int) -> bytes | None:
    """Return the key of the dataset that an epoch was judged on, if it is public."""
    is_last = replace(task, epoch=epoch).is_last_epoch()
    return task.published[1 if is_last else 0] or get_epoch(state, task.id, epoch).clear_key


def find_gallery(state: StateView, params: Params, task: Task, epoch: int) -> tuple[Original, ...]:
    """Return the models that the submissions of an epoch were compared with, best first, as they were then."""
    gallery: list[Original] = []
    for number in range(epoch):
        replay = load_replay(state, params, task, number)
        scores = {ranked.tag: ranked.score for ranked in replay.result.ranking if ranked.duplicate_of is None}
        entered = sorted(replay.judgements.values(), key=lambda judgement: judgement.submission.order)
        for judgement in entered:
            score = scores.get(judgement.tag)
            own = Origin(number, judgement.tag, judgement.submission.author)
            if score is None or judgement.root is None or get_origin(state, task.id, judgement.root) != own:
                continue
            gallery.append(Original(own, score))
        gallery = sorted(gallery, key=lambda original: original.score, reverse=True)[: params.max_originals]
    return tuple(gallery)


def compare(state: StateView, task: Task, epoch: int, found: Mapping[bytes, ScoreEntry]) -> Iterator[Comparison]:
    """Yield each validator's word on each submission that could be evaluated again, by validator and tag."""
    for validator, sheet in scan_sheets(state, task.id, epoch):
        for entry in sheet.entries or ():
            if entry.tag in found:
                agrees = None if entry.verdict is Verdict.UNFETCHABLE else entry == found[entry.tag]
                yield Comparison(epoch, validator, entry, found[entry.tag], agrees)
