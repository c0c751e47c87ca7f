"""The loop of a participant: after every block, begin each duty that is not under way yet.

A duty that fails is told and begun again a little later, as long as the state still lists it. So a node that was killed
goes on where it stood: its duties are in the log, its secrets in the diary.
"""

from collections.abc import Awaitable, Callable

import structlog
import trio

from flocknode.errors import FlocknodeError
from flocknode.participants import alliance, creator, faults, masked, private, trainer, validator
from flocknode.participants.diary import Fault
from flocknode.participants.hidden_files import forget_finished
from flocknode.participants.kit import Kit
from protocol.errors import ProtocolError
from protocol.rules.alliance.duties import AllianceDuty
from protocol.rules.duties import (
    AttestDatasets,
    ClaimOwnSubmission,
    Duty,
    EnterSubmission,
    OpenOwnSubmission,
    PublishDatasetKey,
    ReleaseDatasetKey,
    RevealOwnScores,
    ScoreSubmissions,
    get_duties,
)

# A duty that failed is begun again after a second, then after twice as long each time.
RETRY_S = 1.0
MAX_RETRY_S = 30.0

# What the log asks of the account, and what it found out by itself.
Act = Duty | AllianceDuty | Fault

log = structlog.get_logger()


class Performer:
    """Performs the duties of one account."""

    def __init__(self, kit: Kit, wait_for_height: Callable[[int], Awaitable[None]]) -> None:
        self._kit = kit
        self._wait_for_height = wait_for_height
        self.under_way: set[Act] = set()
        self._failures: dict[Act, int] = {}

    async def run(self) -> None:
        """Perform duties until cancelled; none while the account is locked, for all of them need its key."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._kit.account.wait_open()
                height = self._kit.chain.head.height
                due: list[Act] = [*get_duties(self._kit.chain.view, self._kit.address, self._kit.tag)]
                due += faults.find_provable(self._kit)
                forget_finished(self._kit)
                self._failures = {duty: count for duty, count in self._failures.items() if duty in due}
                for duty in due:
                    if duty not in self.under_way:
                        self.under_way.add(duty)
                        nursery.start_soon(self._attempt, duty)
                await self._wait_for_height(height + 1)

    async def _attempt(self, duty: Act) -> None:
        try:
            await perform(self._kit, duty)
        except (FlocknodeError, ProtocolError) as error:
            failures = self._failures.get(duty, 0)
            self._failures[duty] = failures + 1
            delay_s = min(RETRY_S * 2**failures, MAX_RETRY_S)
            log.warning("duty failed", duty=type(duty).__name__, reason=error.message, again_in_s=delay_s)
            await trio.sleep(delay_s)
        finally:
            self.under_way.discard(duty)


async def perform(kit: Kit, duty: Act) -> None:
    """Do one duty; returns when its transaction is on the log. Raises what kept it from getting there."""
    match duty:
        case AttestDatasets():
            await validator.attest_datasets(kit, duty)
        case ScoreSubmissions():
            await validator.score_submissions(kit, duty)
        case RevealOwnScores():
            await validator.reveal_scores(kit, duty)
        case EnterSubmission():
            await trainer.enter_submission(kit, duty)
        case OpenOwnSubmission():
            await trainer.open_submission(kit, duty)
        case ClaimOwnSubmission():
            await trainer.claim_submission(kit, duty)
        case ReleaseDatasetKey():
            await creator.release_key(kit, duty)
        case PublishDatasetKey():
            await creator.publish_key(kit, duty)
        case Fault():
            await faults.prove_fault(kit, duty)
        case _ if masked.is_masked(kit, duty):
            await masked.perform(kit, duty)
        case _ if private.is_hidden(kit, duty):
            await private.perform(kit, duty)
        case _:
            await alliance.perform(kit, duty)
