"""The process that verifies for a daemon: `python -m flocknode.verification --parent PID`, spoken to over its pipes."""

import argparse
import os
import time
from pathlib import Path

from flocknode.processes import die_with, take_over_pipes
from flocknode.verification.pipe import RemoteRecords, Said, Task, read_frame, write_frame
from flocknode.verification.verify import verify_snapshot
from protocol.codec import decode
from protocol.genesis import GenesisDocument

# Consensus comes first.
NICENESS = 10
PROGRESS_INTERVAL_S = 0.1


def main() -> None:
    """Verify what the first frame says; see `flocknode.verification.pipe`."""
    parser = argparse.ArgumentParser(prog="python -m flocknode.verification")
    parser.add_argument("--parent", type=int, required=True)
    die_with(parser.parse_args().parent)
    os.nice(NICENESS)
    answers, questions = take_over_pipes()
    task = read_frame(answers, Task)
    if task is None:
        return
    records = RemoteRecords(Path(task.database), questions, answers)
    said_at = 0.0
    for found in verify_snapshot(decode(task.document, GenesisDocument), records, Path(task.journal)):
        if found.state != "running" or time.monotonic() - said_at >= PROGRESS_INTERVAL_S:
            write_frame(questions, Said(found))
            said_at = time.monotonic()


if __name__ == "__main__":
    main()
