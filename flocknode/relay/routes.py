"""Which relays a submission takes, and in which order. Pure: who is eligible and who can be reached are arguments.

Relays stand in layers: the first takes parcels from senders, the last publishes them. Everybody computes the same
layers for one attempt, from the log alone. So a relay that knows senders publishes nothing in that attempt, for
anybody: it cannot even tell whose a submission is not.
"""

import random
from collections.abc import Collection, Sequence
from itertools import count
from typing import TypeAlias

from flocknode.config import MAX_HOPS
from protocol.crypto import hash_parts, integer_bytes
from protocol.rules.arena.records import get_epoch, get_member
from protocol.rules.duties import has_seat
from protocol.state import StateView
from protocol.tendermint.replicas import ReplicaSet
from protocol.transactions import AnonymousPayload, Role, Submit

HOPS = MAX_HOPS
PATHS = 2
# Attempts are shuffled anew; so many, and with a relay that can be reached for each layer one of them has it there.
MAX_SHUFFLES = 1_000

# The consensus key of a replica, whose node is the relay.
Relay: TypeAlias = bytes
Path: TypeAlias = tuple[Relay, ...]


class TooFewRelays(Exception):
    """There are fewer relays than a path has hops."""


def find_eligible(view: StateView, replicas: ReplicaSet, task: int, epoch: int, own_account: bytes) -> list[Relay]:
    """Return the relays of an epoch, sorted: replicas, for their stake, but none of the task's trainers' nodes."""
    seats = get_epoch(view, task, epoch)
    return sorted(
        replica.key
        for replica in replicas.replicas
        if replica.account != own_account
        and not has_seat(seats, replica.account)
        and not _is_trainer(view, task, replica.account)
    )


def _is_trainer(view: StateView, task: int, account: bytes) -> bool:
    member = get_member(view, task, account)
    return member is not None and member.role is Role.TRAINER


def name_seed(chain: bytes, payload: AnonymousPayload) -> bytes:
    """Return what the layers of an epoch's submissions, or of its openings, are shuffled by."""
    kind = b"submit" if isinstance(payload, Submit) else b"open"
    return hash_parts("flock/relay/layers", chain, kind, integer_bytes(payload.task), integer_bytes(payload.epoch))


def make_layers(seed: bytes, eligible: Sequence[Relay], hops: int, shuffle: int) -> list[list[Relay]]:
    """Return the eligible relays in layers, one for each hop, as even as can be: the last has more, then the first."""
    if len(eligible) < hops:
        raise TooFewRelays
    mixed = sorted(eligible, key=lambda key: hash_parts("flock/relay/shuffle", seed, integer_bytes(shuffle), key))
    # The last hop keeps blobs, the first may be down for one sender alone; so spare relays go there.
    sizes = [len(mixed) // hops] * hops
    for layer in [hops - 1, 0, *range(1, hops - 1)][: len(mixed) % hops]:
        sizes[layer] += 1
    ends = [sum(sizes[: layer + 1]) for layer in range(hops)]
    return [mixed[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def find_shuffle(
    seed: bytes, eligible: Sequence[Relay], reachable: Collection[Relay], hops: int, first: int
) -> tuple[int, list[list[Relay]]]:
    """Return the first shuffle, from a number on, that has somebody to be reached in every layer, and who that is.

    Senders that reach the same relays agree on it. Raises `TooFewRelays`.
    """
    if len(set(reachable) & set(eligible)) < hops:
        raise TooFewRelays
    for shuffle in count(first):
        layers = make_layers(seed, eligible, hops, shuffle)
        found = [[relay for relay in layer if relay in reachable] for layer in layers]
        if all(found):
            return shuffle, found
        if shuffle - first > MAX_SHUFFLES:
            raise TooFewRelays
    raise AssertionError("counting has no end")


def choose_paths(layers: Sequence[Sequence[Relay]], rng: random.Random) -> list[Path]:
    """Return two random paths through the layers, that share no relay where there are two; fewer if they would agree.

    `rng` draws from the system's randomness.
    """
    drawn = [rng.sample(list(layer), len(layer)) for layer in layers]
    paths = [tuple(layer[number % len(layer)] for layer in drawn) for number in range(PATHS)]
    return list(dict.fromkeys(paths))
