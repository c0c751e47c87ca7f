"""What the network learns from the log."""

import pytest
from msgspec.structs import replace

from flocknode.surroundings import ChainSurroundings, scan_alliance_blobs, scan_task_blobs
from protocol.crypto import public_key
from protocol.params import DEVNET
from protocol.rules.arena.records import get_task, scan_submissions
from protocol.rules.voters import get_voters
from tests.alliance_play import BEST, FRESH, AlliancePlay, aggregate_of, update_of
from tests.arena_play import Play
from tests.private_play import PrivatePlay


@pytest.fixture
def play() -> Play:
    return Play()


def datasets(play: Play):
    spec = play.record.spec
    return {spec.dataset_a.blob, spec.dataset_b.blob}


def submissions(play: Play, epoch: int):
    return {submission.blob for _, submission in scan_submissions(play.ledger.state, play.task, epoch)}


def test_datasets_matter_from_the_beginning_and_anybody_may_offer_them(play: Play) -> None:
    """Also while the task is open for joining, when there is no epoch."""
    found = scan_task_blobs(play.ledger.state, play.creator.address)
    assert found.named == found.offered == datasets(play)


def test_who_might_be_the_author_offers_no_submission(play: Play) -> None:
    """A trainer with a seat holds none but its own; a validator offers what it fetched."""
    play.begin().submit()
    entered = submissions(play, 0)
    assert len(entered) == 3
    trainer = scan_task_blobs(play.ledger.state, play.trainers[0].address)
    validator = scan_task_blobs(play.ledger.state, play.validators[0].address)
    assert trainer.named == validator.named == validator.offered == datasets(play) | entered
    assert trainer.offered == datasets(play)


def test_what_the_last_epoch_needed_is_let_go_after_the_next_and_all_of_it_with_the_task(play: Play) -> None:
    """So that a long task does not fill the disk; only the best models stay, for copies of them are looked for."""
    play = Play(epochs=3, params=replace(DEVNET, max_originals=1))
    play.begin()
    for _ in range(2):
        play.run_epoch()
    play.submit()
    found = scan_task_blobs(play.ledger.state, play.creator.address)
    best = play.ledger.submission_of(play.trainers[0], play.task, 0).blob
    assert found.named == datasets(play) | submissions(play, 1) | submissions(play, 2) | {best}
    play.open().commit().reveal().claim()
    assert scan_task_blobs(play.ledger.state, play.creator.address).named == frozenset()
    assert get_task(play.ledger.state, play.task)


class FixedChain:
    """The part of a chain that is asked."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.reads = 0

    @property
    def head(self):
        return self.play.ledger.before.head

    @property
    def replicas(self):
        return get_voters(self.play.ledger.state).current

    @property
    def view(self):
        self.reads += 1
        return self.play.ledger.state


def test_a_replica_pins_the_others_and_a_follower_nobody(play: Play, tmp_path) -> None:
    """Slots are kept for all of them by everybody."""
    chain = FixedChain(play)
    seeds = [person.consensus_seed for person in play.ledger.people]
    keys = {replica.key for replica in chain.replicas.replicas}

    def make(seed: bytes) -> ChainSurroundings:
        return ChainSurroundings(
            chain, consensus_seed=seed, account=play.creator.address, memory_file=tmp_path / "peers.json"
        )

    replica, follower = make(seeds[0]), make(b"f" * 32)
    assert set(replica.bonded_keys()) == set(follower.bonded_keys()) == keys
    assert set(replica.pinned_keys()) == keys - {public_key(seeds[0])}
    assert not follower.pinned_keys()


def test_the_state_is_read_once_for_each_height(play: Play, tmp_path) -> None:
    """Announcements of strangers cost no scan."""
    chain = FixedChain(play)
    found = ChainSurroundings(
        chain, consensus_seed=b"f" * 32, account=play.creator.address, memory_file=tmp_path / "peers.json"
    )
    assert found.known_blobs() == found.offered_blobs() == found.known_blobs() == datasets(play)
    assert chain.reads == 1
    play.ledger.block()
    found.known_blobs()
    assert chain.reads == 2


def test_an_alliance_needs_its_start_then_its_models_and_the_updates_of_its_round() -> None:
    """The start until a round is accepted, then the latest and the best model; nothing of an alliance that ended."""
    play = AlliancePlay(rounds=3).begin()
    assert scan_alliance_blobs(play.ledger.state) == {FRESH}
    proposers = play.proposers()
    play.train()
    assert scan_alliance_blobs(play.ledger.state) == {FRESH, *(update_of(person, 0) for person in proposers)}
    play.hold().commit().reveal().confirm()
    assert scan_alliance_blobs(play.ledger.state) == {aggregate_of(0)}
    play.draw().train().hold().commit().reveal()
    play.confirm(dict.fromkeys(play.voters(), play.confirmation(score=BEST - 1)))
    assert scan_alliance_blobs(play.ledger.state) == {aggregate_of(0), aggregate_of(1)}, "the first is the best"
    found = scan_task_blobs(play.ledger.state, play.participants[0].address)
    assert found.named == found.offered == {aggregate_of(0), aggregate_of(1)}
    play.run_round()
    assert scan_alliance_blobs(play.ledger.state) == set()


def test_the_sums_behind_models_that_may_be_trained_on_are_kept() -> None:
    """Whoever trains next checks the sum: of the latest model, or of the best, to which a rejection returns."""
    play = PrivatePlay(rounds=4).begin()
    sums = []
    for score in (BEST, BEST - 1):
        play.draw().train().seal().hold()
        play.publish()
        sums.append(play.published.proven.blob)
        assert set(sums) <= scan_alliance_blobs(play.ledger.state)
        ballot = replace(play.ballot(), scores=(score,))
        play.commit(dict.fromkeys(play.voters(), ballot)).reveal()
    assert (play.record.latest.round, play.record.best.round) == (1, 0)
    kept = {aggregate_of(0), aggregate_of(1), *sums}
    assert scan_alliance_blobs(play.ledger.state) == kept
    play.draw().train().seal().hold()
    sealed = {play.revealed(person).blob for person in play.proposers()}
    play.publish(play.aggregate(accused={liar: play.key(liar) for liar in play.proposers()}))
    assert scan_alliance_blobs(play.ledger.state) == kept | sealed, "the voters open what has no sum"
