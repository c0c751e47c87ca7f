"""What the small node of these tests answers about Arena tasks: fixed records about one task."""

from flocknode.rpc import arena_records as a
from flocknode.rpc import records as r
from flocknode.rpc import training_records as t
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
        stake_units: r.Units | None = None,
        settings: a.TaskOptions | None = None,
        needed_memory_mib: r.Count = 512,
        needed_evaluation_ms: r.Count = 5_000,
        baseline_millionths: r.Ratio = 0,
        measure_baseline: bool = True,
        wait: bool = True,
    ) -> a.Submitted:
        """Create a task."""
        if baseline_millionths or not measure_baseline:
            self.calls.append((baseline_millionths, measure_baseline))
        if stake_units is not None or settings:
            self.calls.append((stake_units, settings))
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
        memory_mib: r.Count | None = None,
        evaluation_ms: r.Count | None = None,
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

    async def complain(self, *, task: a.TaskReference, wait: bool = True) -> a.Submitted:
        """Complain."""
        self.calls.append((task,))
        return a.Submitted(task=TASK, outcome=self.outcome())

    async def publish_key(self, *, task: a.TaskReference, dataset: str, wait: bool = True) -> a.Submitted:
        """Publish a key."""
        self.calls.append((task, dataset))
        return a.Submitted(task=TASK, outcome=self.outcome())

    async def prove_piece(
        self, *, task: a.TaskReference, dataset: str, piece: r.Count, wait: bool = True
    ) -> a.Submitted:
        """Prove a bad piece."""
        self.calls.append((task, dataset, piece))
        return a.Submitted(task=TASK, outcome=self.outcome())

    async def prove_verdict(
        self, *, task: a.TaskReference, epoch: r.Count, tag: r.Hex32, piece: r.Count = 0, wait: bool = True
    ) -> a.Submitted:
        """Prove a wrong verdict."""
        self.calls.append((task, epoch, tag, piece))
        return a.Submitted(task=TASK, outcome=self.outcome())

    async def delegate(
        self, *, task: a.TaskReference, operator: r.Hex32, units: r.Units, wait: bool = True
    ) -> a.Submitted:
        """Delegate."""
        self.calls.append((task, operator, units))
        return a.Submitted(task=TASK, outcome=self.outcome())

    async def undelegate(
        self, *, task: a.TaskReference, operator: r.Hex32, shares: r.Count | None = None, wait: bool = True
    ) -> a.Submitted:
        """Take back."""
        self.calls.append((task, operator, shares))
        return a.Submitted(task=TASK, outcome=self.outcome())

    async def bounty(self, *, task: a.TaskReference, units: r.Units, wait: bool = True) -> a.Submitted:
        """Give."""
        self.calls.append((task, units))
        return a.Submitted(task=TASK, outcome=self.outcome())

    async def cancel(self, *, task: a.TaskReference, wait: bool = True) -> a.Submitted:
        """Call off."""
        self.calls.append((task, "cancel"))
        return a.Submitted(task=TASK, outcome=self.outcome())

    async def verify(self, *, task: a.TaskReference, wait: bool = True) -> a.Submitted:
        """Verify."""
        self.calls.append((task, "verify"))
        return a.Submitted(task=TASK, outcome=self.outcome())

    async def reward_share(self, *, task: a.TaskReference, millionths: r.Ratio, wait: bool = True) -> a.Submitted:
        """Share."""
        self.calls.append((task, millionths))
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
            funding="verified",
            emitted_units=9 * 10**11,
        )

    async def tasks(self, *, status: a.TaskState | None = None, limit: r.Count = 100) -> a.TaskList:
        """The tasks."""
        return a.TaskList(height=42, tasks=(self.summary(),) if status in (None, "running") else ())

    async def task(self, *, task: a.TaskReference) -> a.Task:
        """A task."""
        if task not in ("digits", str(TASK)):
            raise NotFound(f"there is no task {task!r}", task=task)
        vault = a.Vault(
            delegated_units=25 * 10**9,
            shares=24 * 10**9,
            delegators=2,
            reward_share_millionths=100_000,
            promised_share_millionths=200_000,
            cut_share_millionths=0,
            cut_ms=NOW_MS,
        )
        member = {
            "stake_units": 50 * 10**9,
            "has_attested": True,
            "is_drawn": True,
            "is_leaving": False,
            "vault": vault,
        }
        return a.Task(
            summary=self.summary(),
            family="mlp",
            model={"layers": [64, 32, 10]},
            metric="accuracy",
            higher_is_better=True,
            metric_low_millionths=0,
            metric_high_millionths=1_000_000,
            datasets=(a.Dataset(name="a", root="da" * 32, length_bytes=1000, baseline_millionths=100_000, key=None),),
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
            tag=TAGS[0],
            verdict="scored",
            score_millionths=941_700,
            duplicate_of=None,
            is_ignored=True,
            is_overruled=False,
            **common,
        )
        invalid = a.ScoreEntry(
            tag=TAGS[1],
            verdict="invalid",
            score_millionths=None,
            duplicate_of=TAGS[0],
            is_ignored=False,
            is_overruled=True,
            **common,
        )
        return a.ScoreList(task=TASK, scores=(scored, invalid))

    async def trainings(self, *, task: a.TaskReference | None = None) -> t.TrainingList:
        """The trainings of this node."""
        run = t.TrainingRun(
            task=TASK,
            name="digits",
            epoch=1,
            state="running",
            reason="",
            started_ms=NOW_MS,
            done=40,
            total=160,
            resumed_from=20,
            start=TAGS[0],
            losses=(t.LossPoint(step=21, loss_millionths=2_302_585), t.LossPoint(step=40, loss_millionths=941_700)),
        )
        return t.TrainingList(trainings=(run,))

    async def leaderboard(self, *, task: a.TaskReference, epoch: r.Count | None = None) -> a.Leaderboard:
        """The leaderboard."""
        ranked = a.Ranked(
            rank=1,
            tag=TAGS[0],
            account=self.bob,
            stake_units=75 * 10**9,
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
            baseline_millionths=100_000,
            is_settled=True,
            pot_units=10**11,
            emitted_units=9 * 10**10,
            creator_units=10**9,
            ranking=(ranked,),
            validators=(
                a.ValidatorPayout(account=self.alice, stake_units=10**11, payout_units=10**9, slashed_units=0),
            ),
        )
        payout = a.Payout(
            account=self.bob,
            a_units=10**9,
            b_units=2 * 10**9,
            validating_units=0,
            creating_units=0,
            passed_on_units=10**8,
        )
        return a.Leaderboard(task=TASK, name="digits", status="running", epochs=(settled,), payouts=(payout,))
