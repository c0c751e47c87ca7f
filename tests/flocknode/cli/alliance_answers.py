"""What the small node of these tests answers about alliances: fixed records about one alliance."""

import base64

from flocknode.rpc import alliance_records as a
from flocknode.rpc import arena_records
from flocknode.rpc import records as r
from flocknode.rpc import training_records as t
from flocknode.rpc.audit_records import Origins, Step
from protocol.errors import NotFound

NOW_MS = 1_700_000_000_000
ALLIANCE = 3
FML = 10**9


class AllianceAnswers:
    """The methods of alliances; whoever has them also has `alice`, `bob`, `calls` and `outcome`."""

    def alliance_handlers(self):
        """Return the method table."""
        return {
            "alliance.create": self.create_alliance,
            "alliance.join": self.join_alliance,
            "alliance.leave": self.leave_alliance,
            "alliance.top_up": self.top_up,
            "alliance.fund": self.fund,
            "alliance.cancel": self.cancel_alliance,
            "alliance.verify": self.verify_alliance,
            "alliance.list": self.alliances,
            "alliance.show": self.alliance,
            "alliance.participants": self.participants,
            "alliance.rounds": self.rounds,
            "alliance.explain": self.explain_alliance,
            "alliance.training": self.round_trainings,
            "alliance.proof": self.proof,
        }

    def sent(self, *call):
        """Note a call and return what becomes of its transaction."""
        self.calls.append(call)
        return a.AllianceSent(alliance=ALLIANCE, outcome=self.outcome())

    async def create_alliance(
        self,
        *,
        name: str,
        base_task: arena_records.TaskReference | None = None,
        family: str | None = None,
        model: arena_records.Settings | None = None,
        metric: str | None = None,
        seed: r.Count = 0,
        escrow_units: r.Units,
        stake_units: r.Units | None = None,
        joining_stake_units: r.Units | None = None,
        min_test_rows: r.Count | None = None,
        participants: r.Count = 4,
        training: a.Training | None = None,
        settings: a.AllianceOptions | None = None,
        wait: bool = True,
    ) -> a.AllianceSent:
        """Create an alliance."""
        start = base_task or (family, model, metric, seed)
        return self.sent(name, start, escrow_units, joining_stake_units, participants, training, settings)

    async def join_alliance(
        self,
        *,
        alliance: a.AllianceReference,
        dataset: r.FilePath,
        test_share_millionths: r.Ratio = 250_000,
        seed: r.Count = 0,
        wait: bool = True,
    ) -> a.Joined:
        """Join an alliance."""
        self.calls.append((alliance, dataset, test_share_millionths, seed))
        return a.Joined(alliance=ALLIANCE, train_rows=90, test_rows=30, outcome=self.outcome())

    async def leave_alliance(self, *, alliance: a.AllianceReference, wait: bool = True) -> a.AllianceSent:
        """Leave."""
        return self.sent("leave", alliance)

    async def top_up(self, *, alliance: a.AllianceReference, units: r.Units, wait: bool = True) -> a.AllianceSent:
        """Top up."""
        return self.sent("top up", alliance, units)

    async def fund(self, *, alliance: a.AllianceReference, units: r.Units, wait: bool = True) -> a.AllianceSent:
        """Give."""
        return self.sent("fund", alliance, units)

    async def cancel_alliance(self, *, alliance: a.AllianceReference, wait: bool = True) -> a.AllianceSent:
        """Call off."""
        return self.sent("cancel", alliance)

    async def verify_alliance(self, *, alliance: a.AllianceReference, wait: bool = True) -> a.AllianceSent:
        """Verify."""
        return self.sent("verify", alliance)

    async def round_trainings(self, *, alliance: a.AllianceReference | None = None) -> t.RoundTrainingList:
        """The trainings of this node."""
        run = t.RoundTraining(
            alliance=ALLIANCE,
            name="hospitals",
            round=1,
            state="failed",
            reason="given up",
            started_ms=NOW_MS,
            done=40,
            total=160,
            resumed_from=0,
            start=None,
            losses=(t.LossPoint(step=21, loss_millionths=2_302_585), t.LossPoint(step=40, loss_millionths=941_700)),
        )
        return t.RoundTrainingList(trainings=(run,))

    def alliance_summary(self):
        """Return the one alliance."""
        return a.AllianceSummary(
            alliance=ALLIANCE,
            name="hospitals",
            creator=self.alice,
            status="running",
            round=2,
            rounds=10,
            phase="vote",
            deadline_ms=NOW_MS,
            participants=5,
            wanted=5,
            pool_units=80 * FML,
            funding="escrow",
            best_millionths=941_700,
        )

    async def alliances(self, *, status: a.AllianceState | None = None, limit: r.Count = 100) -> a.AllianceList:
        """The alliances."""
        return a.AllianceList(height=42, alliances=(self.alliance_summary(),) if status in (None, "running") else ())

    def participant(self):
        """Return the one participant."""
        return a.Participant(
            account=self.bob,
            stake_units=56 * FML,
            train_rows=90,
            test_rows=30,
            standing="warned",
            accepted_rounds=2,
            earned_units=7 * FML,
            slashed_units=8 * FML,
        )

    async def alliance(self, *, alliance: a.AllianceReference) -> a.Alliance:
        """An alliance."""
        if alliance not in ("hospitals", str(ALLIANCE)):
            raise NotFound(f"there is no alliance {alliance!r}", alliance=alliance)
        model = a.AcceptedModel(round=1, root="f1" * 32, length_bytes=2_000, score_millionths=941_700, is_held=True)
        return a.Alliance(
            summary=self.alliance_summary(),
            family="mlp",
            model={"layers": [64, 64, 10]},
            metric="accuracy",
            higher_is_better=True,
            base_task=7,
            winner="e1" * 32,
            start=None,
            latest=model,
            best=model,
            training=a.Training(),
            joining_stake_units=64 * FML,
            threshold_units=32 * FML,
            min_test_rows=20,
            participants=(self.participant(),),
            parameters={"aggregator": "fedavg"},
        )

    async def participants(self, *, alliance: a.AllianceReference) -> a.ParticipantList:
        """Who takes part."""
        return a.ParticipantList(alliance=ALLIANCE, participants=(self.participant(),))

    def share(self, account, role, **changes):
        """Return somebody's part in a round that paid it."""
        common = {"stake_units": 64 * FML, "merit_millionths": 1_000_000, "has_acted": True, "is_absent": False}
        amounts = {"earned_units": 5 * FML, "slashed_units": 0}
        return a.Share(account=account, role=role, **{**common, **amounts, **changes})

    def sum_of(self, summed, liars, **hashes) -> a.ProvenSum:
        """What an aggregator published."""
        return a.ProvenSum(aggregator="a1" * 32, summed=summed, liars=liars, unreadable=(), **hashes)

    async def rounds(
        self, *, alliance: a.AllianceReference, round: r.Count | None = None, limit: r.Count = 20
    ) -> a.RoundList:
        """The rounds."""
        self.calls.append((alliance, round, limit))
        update = a.JudgedUpdate(
            proposer=self.alice,
            in_favour=2,
            against=1,
            score_millionths=930_000,
            gain_millionths=None,
            is_accepted=True,
        )
        nothing = {"earned_units": 0, "merit_millionths": 0}
        settled = a.Round(
            round=1,
            state="accepted",
            phase=None,
            pool_units=90 * FML,
            reward_units=10 * FML,
            paid_units=5 * FML,
            slashed_units=8 * FML,
            root="f1" * 32,
            score_millionths=941_700,
            in_favour=2,
            against=0,
            updates=(update,),
            shares=(
                self.share(self.alice, "proposer"),
                self.share(self.bob, "voter", is_absent=True, has_acted=False, slashed_units=8 * FML, **nothing),
            ),
            settled_height=40,
            proven=self.sum_of((self.alice,), (self.bob,), digest="d1" * 32, proof="b1" * 32, root="c1" * 32),
        )
        running = a.Round(
            round=2,
            state="running",
            phase="vote",
            pool_units=0,
            reward_units=0,
            paid_units=0,
            slashed_units=0,
            root=None,
            score_millionths=None,
            in_favour=0,
            against=0,
            updates=(),
            shares=(self.share(self.bob, "voter", has_acted=False, earned_units=0, merit_millionths=None),),
            settled_height=None,
            proven=self.sum_of((), (self.alice,), digest=None, proof=None, root=None),
        )
        found = [one for one in (settled, running) if round in (None, one.round)]
        return a.RoundList(alliance=ALLIANCE, name="hospitals", rounds=tuple(found))

    async def proof(self, *, alliance: a.AllianceReference, round: r.Count, part: r.Count = 0) -> a.ProofPart:
        """A proof in two parts."""
        self.calls.append((alliance, round, part))
        data = base64.b64encode(b"first" if part == 0 else b", then").decode()
        return a.ProofPart(alliance=ALLIANCE, round=round, part=part, parts=2, data=data)

    async def explain_alliance(
        self, *, alliance: a.AllianceReference, round: r.Count | None = None, account: r.Hex32 | None = None
    ) -> a.AllianceExplanation:
        """Rewards and slashes."""
        self.calls.append((alliance, round, account))
        nothing = {"emission_units": 0, "escrow_units": 0, "bounty_units": 0, "slash_units": 0}
        vote = a.CastVote(voter=self.bob, about=self.alice, score_millionths=930_000, best_millionths=900_000, vote=1)
        reward = a.Traced(
            round=1,
            account=self.alice,
            kind="proposing",
            units=5 * FML,
            origins=Origins(**{**nothing, "emission_units": 2 * FML, "escrow_units": 3 * FML}),
            burned_units=0,
            kept_units=0,
            steps=(Step(tag="L5", what="stake of all selected", units=256 * FML, number=None),),
            votes=(vote,),
        )
        slash = a.Traced(
            round=1,
            account=self.bob,
            kind="absence",
            units=8 * FML,
            origins=Origins(**nothing),
            burned_units=8 * 10**8,
            kept_units=72 * 10**8,
            steps=(),
            votes=(),
        )
        traces = [one for one in (reward, slash) if account in (None, one.account)]
        return a.AllianceExplanation(alliance=ALLIANCE, traces=tuple(traces))
