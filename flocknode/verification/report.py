"""What a verification has checked and found so far."""

import time
from typing import Literal

from flocknode.rpc.log_records import Finding, Part, Verification
from storage.errors import Corrupted

# One damaged table of LevelDB can alter thousands of records; the first of them say enough.
MAX_FINDINGS = 100


class Report:
    """Counts and findings; grows while the verification runs."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.findings_left_out = 0
        self.height = self.target = 0
        self.transactions = self.signatures = self.records = self.journal_records = 0
        self._began = time.monotonic()

    def add(
        self,
        part: Part,
        place: str,
        reason: str,
        *,
        height: int | None = None,
        bucket: int | None = None,
        key: bytes | None = None,
    ) -> None:
        """Note a place that is not as it should be."""
        if len(self.findings) >= MAX_FINDINGS:
            self.findings_left_out += 1
            return
        hex_key = None if key is None else key.hex()
        self.findings.append(Finding(part=part, place=place, reason=reason, height=height, bucket=bucket, key=hex_key))

    def add_damage(self, part: Part, error: Corrupted, *, height: int | None = None) -> None:
        """Note a place that cannot be read."""
        self.add(part, error.where, error.reason, height=height)

    def describe(self, state: Literal["none", "running", "stopped"] | None = None, cause: str = "") -> Verification:
        """Return the report as a record; without a state, the verdict."""
        return Verification(
            state=state or ("broken" if self.findings else "sound"),
            height=self.height,
            target=self.target,
            transactions=self.transactions,
            signatures=self.signatures,
            records=self.records,
            journal_records=self.journal_records,
            duration_ms=round(1000 * (time.monotonic() - self._began)),
            findings=tuple(self.findings),
            findings_left_out=self.findings_left_out,
            cause=cause,
        )
