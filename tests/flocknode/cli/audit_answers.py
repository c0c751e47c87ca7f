"""What the small node of these tests answers about audits and payouts: fixed records about one task."""

from flocknode.rpc import audit_records as u
from flocknode.rpc import records as r
from flocknode.rpc.arena_records import TaskReference

TASK = 7
TAGS = ("e1" * 32, "e2" * 32)


class AuditAnswers:
    """The methods that check and explain; whoever has them also has `alice`, `bob` and `calls`."""

    is_wrong = True

    async def audit(self, *, task: TaskReference) -> u.Audit:
        """One verdict that is so, an abstention, and one that is not."""
        right = u.Opinion(verdict="scored", score_millionths=900_000, duplicate_of=None)
        copied = u.Opinion(verdict="scored", score_millionths=900_000, duplicate_of=TAGS[0])
        away = u.Opinion(verdict="unfetchable", score_millionths=None, duplicate_of=None)
        said = [(self.alice, TAGS[0], right, right, True), (self.alice, TAGS[1], away, copied, None)]
        if self.is_wrong:
            said.append((self.bob, TAGS[1], right, copied, False))
        return u.Audit(
            task=TASK,
            epochs=2,
            comparisons=tuple(
                u.Comparison(epoch=0, validator=who, tag=tag, said=one, found=other, agrees=agrees)
                for who, tag, one, other, agrees in said
            ),
            unchecked=(u.Unchecked(epoch=1, tag=None, reason="the dataset's key is not public"),),
        )

    async def explain(
        self, *, task: TaskReference, epoch: r.Count | None = None, account: r.Hex32 | None = None
    ) -> u.Explanation:
        """Two payouts."""
        self.calls.append((task, epoch, account))
        origins = u.Origins(emission_units=10**9, escrow_units=5 * 10**9, bounty_units=3 * 10**9, slash_units=10**9)
        steps = (
            u.Step(tag="IV.A", what="pot of the epoch", units=40 * 10**9, number=None),
            u.Step(tag="A6", what="share of the trainers", units=None, number="0.2500000000000000000000000000000000"),
        )
        vote = u.Vote(
            tag=TAGS[0],
            validator=self.alice,
            stake_units=10**11,
            verdict="scored",
            score_millionths=900_000,
            is_counted=True,
        )
        payouts = tuple(
            u.ExplainedPayout(
                epoch=0,
                account=who,
                kind="reward a",
                units=10**10,
                own_units=9 * 10**9,
                passed_on_units=10**9,
                origins=origins,
                steps=steps,
                votes=(vote,),
            )
            for who in (self.alice, self.bob)
        )
        return u.Explanation(task=TASK, payouts=tuple(one for one in payouts if account in (None, one.account)))
