"""What the devnet's tasks are about, and who plays what in several of them."""

import msgspec
import pytest

from devnet.applications import APPLICATIONS, NAMES, TRAINING_PARTS
from devnet.cast import CAST, cast_task
from flocknode.rpc.arena_records import Training
from protocol.models import METRICS, MetricSpec, ModelSpec, Setting, check_metric, check_model


@pytest.mark.parametrize("name", NAMES)
def test_each_application_is_one_that_the_log_accepts(name):
    """Model and metric pass the log's checks, every trainer has its rows, and its settings pass the socket's."""
    one = APPLICATIONS[name]
    assert one.name == name
    check_model(ModelSpec(one.family, tuple(Setting(key, tuple(values)) for key, values in sorted(one.model.items()))))
    check_metric(MetricSpec(one.metric, METRICS[one.metric], one.low, one.high))
    assert {"a", "b", *TRAINING_PARTS} <= set(one.rows)
    for training in one.trainings:
        assert msgspec.convert(msgspec.to_builtins(training), Training) == training
    assert one.family in one.describe()


def test_of_three_tasks_everybody_plays_every_kind_of_part():
    """In each task there are one creator, three trainers and three validators; over three, roles change hands."""
    castings = [cast_task(APPLICATIONS["digits"], number) for number in range(3)]
    for casting in castings:
        assert {casting.creator, *(part.name for part in casting.members)} == {actor.name for actor in CAST}
        assert [part.role for part in casting.members] == ["trainer"] * 3 + ["validator"] * 3
        assert all((part.training is None) == (part.role == "validator") for part in casting.members)
    first, second = castings[:2]
    before, after = ({part.name: part.role for part in casting.members} for casting in (first, second))
    assert (first.creator, second.creator) == ("alice", "dave")
    assert all(before.get(actor.name) != after.get(actor.name) for actor in CAST)
