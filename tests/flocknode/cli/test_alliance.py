"""The commands about alliances against a node: what they send, what they print, and how they refuse."""

import pytest

from flocknode.errors import Exit
from flocknode.rpc.alliance_records import Training
from tests.dataset_files import write_dataset

FML = 10**9
INCLUDED = f"included in block 43  {'1d' * 32}\n"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("alliance list", "3 hospitals alice running 3/10 vote 5 80 0.941700"),
        ("top", "3 hospitals alice running 3/10 vote 5 80 0.941700"),
        ("alliance list --status opening", "NO NAME CREATOR"),
        ("alliance show hospitals", "starts from the winner of task 7, e1e1e1e1…"),
        ("alliance show 3", "best round 2, f1f1f1f1…, 0.941700, held here"),
        ("alliance show 3", "bob 56 90 30 warned 2 7 8"),
        ("alliance rounds hospitals", "2 accepted alice (bob) 1/1 0.941700 5 8"),
        ("alliance rounds hospitals", "3 running: vote - bob"),
        ("alliance rounds hospitals --round 2", "alice 2 1 0.930000 - accepted"),
        ("alliance rounds hospitals --round 2", "bob voter 64 0.000000 absent 0 8"),
        ("alliance rounds hospitals --round 2", f"summed alice shown to lie bob Enc(w) digest {'d1' * 32}"),
        ("alliance rounds hospitals --round 3", "shown to lie alice Enc(w) digest none: too few are left"),
        ("alliance rounds hospitals --round 9", "No round has begun."),
        ("alliance explain hospitals", "2 alice proposing 2 3 0 0 5"),
        ("alliance explain hospitals", "2 bob absence 0.8 7.2 8"),
        ("alliance explain hospitals --account alice", "L5 stake of all selected 256 FML"),
        ("alliance explain hospitals --account alice", "bob the update of alice 0.900000 0.930000 +1"),
    ],
)
async def test_each_command_prints_its_result(in_process, command, expected):
    """Tables with names for accounts, rounds counted from 1, who was absent in brackets."""
    code, out, err = await in_process(command)
    assert (code, err) == (Exit.OK, "")
    assert expected in " ".join(out.split()), out


async def test_creating_from_a_task_or_from_a_fresh_model(in_process, node):
    """What is asked for goes out as a record; amounts in units, settings by name."""
    code, out, err = await in_process(
        "alliance create hospitals --base-task digits --escrow 100 --participants 5 --passes 2 --learning-rate 0.05"
        " --option rounds=20 --option aggregator=median"
    )
    assert (code, out, err) == (Exit.OK, INCLUDED, "alliance 3\n")
    training = Training(passes=2, learning_rate_millionths=50_000)
    settings = {"rounds": 20, "aggregator": "median"}
    assert node.calls.pop() == ("hospitals", "digits", 100 * FML, None, 5, training, settings)
    code, _, _ = await in_process(
        "alliance create x --family mlp --set layers=64,64,10 --metric accuracy --seed 7 --escrow 1 --joining-stake 80"
    )
    assert code == Exit.OK
    fresh = ("mlp", {"layers": [64, 64, 10]}, "accuracy", 7)
    assert node.calls.pop() == ("x", fresh, FML, 80 * FML, 4, Training(), {})


@pytest.mark.parametrize(
    ("asked", "settings"),
    [
        ("--privacy clear", {"privacy": "clear"}),
        ("--privacy zk", {"privacy": "zk", "attribution": "aggregate"}),
        ("--privacy masked --option rounds=3", {"privacy": "masked", "attribution": "aggregate", "rounds": 3}),
        ("--privacy masked --option attribution=per_proposal", {"privacy": "masked", "attribution": "per_proposal"}),
    ],
)
async def test_who_sees_updates_is_one_option(in_process, node, asked, settings):
    """Hidden updates are voted on together, unless one says otherwise, which the node refuses with the reason."""
    code, _, _ = await in_process(f"alliance create x --base-task digits --escrow 1 {asked}")
    assert code == Exit.OK
    assert node.calls.pop()[-1] == settings


async def test_joining_cuts_the_data_and_says_how(in_process, node, tmp_path):
    """The file goes as an absolute path; how many rows train and how many test is told beside the outcome."""
    data = write_dataset(tmp_path / "own.safetensors")
    code, out, err = await in_process(f"alliance join hospitals --data {data} --test-share 0.3 --seed 9")
    assert (code, out, err) == (Exit.OK, INCLUDED, "alliance 3: 90 rows to train, 30 to test\n")
    assert node.calls == [("hospitals", str(data), 300_000, 9)]
    node.outcome_status = "failed"
    for more in ("", " --json"):
        code, out, _ = await in_process(f"alliance join hospitals --data {data}{more}")
        assert code == Exit.REFUSED
        assert "the balance does not cover it" in out


async def test_trainings_stand_with_their_round_and_loss(in_process):
    """Counted from 1; without an accepted model before it, a round begins with the alliance's start."""
    code, out, err = await in_process("alliance training")
    assert (code, err) == (Exit.OK, "")
    line = "3  hospitals      2  failed: given up     40  160           -  the start     2.302585  0.941700"
    assert line in out, out


@pytest.mark.parametrize(
    ("command", "call"),
    [
        ("leave 3", ("leave", "3")),
        ("top-up 3 12.5", ("top up", "3", 12_500_000_000)),
        ("fund 3 5", ("fund", "3", 5 * FML)),
        ("cancel 3", ("cancel", "3")),
        ("verify 3", ("verify", "3")),
    ],
)
async def test_other_transactions(in_process, node, command, call):
    """Each sends what it says, and is refused with the code for that."""
    code, out, _ = await in_process(f"alliance {command}")
    assert (code, out, node.calls) == (Exit.OK, INCLUDED, [call])
    node.outcome_status = "expired"
    code, _, _ = await in_process(f"alliance {command} --json")
    assert code == Exit.REFUSED


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("create x --escrow 1", Exit.USAGE, "from a finished task (--base-task), or from a fresh model"),
        ("create x --base-task a --family mlp --escrow 1", Exit.USAGE, "from a finished task"),
        ("create x --family mlp --set layers=a --metric loss --escrow 1", Exit.USAGE, "is not a setting"),
        ("create x --base-task a --escrow 1 --option rounds", Exit.USAGE, "is not an option"),
        ("join 3 --data /nowhere", Exit.ERROR, "there is no file /nowhere"),
        ("rounds 3 --round 0", Exit.USAGE, "rounds count from 1"),
        ("explain 3 --account zoe", Exit.USAGE, "Names: alice, bob."),
        ("show clinics", Exit.REFUSED, "there is no alliance 'clinics'"),
    ],
)
async def test_what_makes_no_sense_is_said(in_process, command, code, words):
    """Before anything is sent, in words, with the documented code."""
    found, out, err = await in_process(f"alliance {command}")
    assert (found, out) == (code, "")
    assert words in err


async def test_a_proof_is_put_together_from_its_parts(in_process, node, tmp_path):
    """The round counts from 1 for people; a file that is there is left alone."""
    out = tmp_path / "round.proof"
    code, said, err = await in_process(f"alliance proof hospitals 2 --out {out}")
    assert (code, err) == (Exit.OK, "")
    assert said == f"{out}: 11 bytes; check with verify-proof\n"
    assert out.read_bytes() == b"first, then"
    assert node.calls == [("hospitals", 1, 0), ("hospitals", 1, 1)]
    for round, words in ((2, "exists"), (0, "rounds count from 1")):
        code, _, err = await in_process(f"alliance proof hospitals {round} --out {out}")
        assert code == Exit.USAGE
        assert words in err
