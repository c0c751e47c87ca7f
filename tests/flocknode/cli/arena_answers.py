"""What the small node of these tests answers about Arena tasks: fixed records about one task."""

from flocknode.rpc import arena_records as a
from flocknode.rpc import records as r
from protocol.errors import NotFound

NOW_MS = 1_700_000_000_000
TASK = 7
TAGS = ("e1" * 32, "e2" * 32)


class ArenaAnswers:
    """The methods of the Arena; whoever has them also has `alice`, `bob`, `calls` and `outcome`."""

    async def create(
        self,
        *,
        name: str,
        family: str,
        model: a.Settings,
        metric: str,
        dataset_a: r.FilePath,
        dataset_b: r.FilePath,
        epochs: r.Count,
        escrow_units: r.Units,
        metric_low_millionths: int = 0,
        metric_high_millionths: int = 1_000_000,
        wait: bool = True,
    ) -> a.Submitted:
        """Create a task."""
        self.hub.publish("work", self.training(state="done", kind="sealing", subject="a"))
        self.calls.append((name, family, model, metric, escrow_units, metric_low_millionths, dataset_a))
        return a.Submitted(task=TASK, outcome=self.outcome())

    async def join(
        self,
        *,
        task: a.TaskReference,
        role: a.Role,
        stake_units: r.Units,
        dataset: r.FilePath | None = None,
        training: a.Training | None = None,
        wait: bool = True,
    ) -> a.Submitted:
        """Join a task."""
        self.calls.append((task, role, stake_units, dataset, training))
        return a.Submitted(task=TASK, outcome=self.outcome())

    async def submit(self, *, task: a.TaskReference, weights: r.FilePath) -> a.Submitted:
        """Submit."""
        return a.Submitted(task=TASK, outcome=self.outcome())

    async def leave(self, *, task: a.TaskReference, wait: bool = True) -> a.Submitted:
        """Leave."""
        return a.Submitted(task=TASK, outcome=self.outcome())

    def summary(self):
        """Return the one task."""
        return a.TaskSummary(
            task=TASK,
            name="digits",
            creator=self.alice,
            status="running",
            epoch=1,
            epochs=2,
            phase="score",
            deadline_ms=NOW_MS,
            trainers=3,
            validators=3,
            escrow_units=10**12,
        )

    async def tasks(self, *, status: a.TaskState | None = None, limit: r.Count = 100) -> a.TaskList:
        """The tasks."""
        return a.TaskList(height=42, tasks=(self.summary(),) if status in (None, "running") else ())

    async def task(self, *, task: a.TaskReference) -> a.Task:
        """A task."""
        if task not in ("digits", str(TASK)):
            raise NotFound(f"there is no task {task!r}", task=task)
        member = {"stake_units": 50 * 10**9, "has_attested": True, "is_drawn": True, "is_leaving": False}
        return a.Task(
            summary=self.summary(),
            family="mlp",
            model={"layers": [64, 32, 10]},
            metric="accuracy",
            higher_is_better=True,
            metric_low_millionths=0,
            metric_high_millionths=1_000_000,
            datasets=(a.Dataset(name="a", root="da" * 32, length_bytes=1000, key=None),),
            members=(a.Member(account=self.bob, role="validator", **member),),
            parameters={"rank_ratio_millionths": 850_000},
        )

    async def submissions(self, *, task: a.TaskReference, epoch: r.Count | None = None) -> a.SubmissionList:
        """The submissions."""
        common = {"epoch": 0, "root": "f0" * 32, "length_bytes": 2000, "is_opened": True, "is_held": True}
        claimed = a.Submission(tag=TAGS[0], account=self.bob, **common)
        return a.SubmissionList(task=TASK, submissions=(claimed, a.Submission(tag=TAGS[1], account=None, **common)))

    async def scores(self, *, task: a.TaskReference, epoch: r.Count | None = None) -> a.ScoreList:
        """The scores."""
        common = {"epoch": 0, "validator": self.bob}
        scored = a.ScoreEntry(
            tag=TAGS[0], verdict="scored", score_millionths=941_700, duplicate_of=None, is_ignored=True, **common
        )
        invalid = a.ScoreEntry(
            tag=TAGS[1], verdict="invalid", score_millionths=None, duplicate_of=TAGS[0], is_ignored=False, **common
        )
        return a.ScoreList(task=TASK, scores=(scored, invalid))

    async def leaderboard(self, *, task: a.TaskReference, epoch: r.Count | None = None) -> a.Leaderboard:
        """The leaderboard."""
        ranked = a.Ranked(
            rank=1,
            tag=TAGS[0],
            account=self.bob,
            score_millionths=941_700,
            share_millionths=540_541,
            duplicate_of=None,
            reward_a_units=123_456_789_000,
            reward_b_units=0,
            payout_units=123_456_789_000,
        )
        settled = a.Epoch(
            epoch=0,
            dataset="a",
            is_settled=True,
            pot_units=10**11,
            ranking=(ranked,),
            validators=(a.ValidatorPayout(account=self.alice, payout_units=10**9, slashed_units=0),),
        )
        payout = a.Payout(account=self.bob, a_units=10**9, b_units=2 * 10**9, validating_units=0)
        return a.Leaderboard(task=TASK, name="digits", status="running", epochs=(settled,), payouts=(payout,))
