"""How long work looks in words: what, how far, how fast, how long still."""

from flocknode.cli.text import format_duration
from flocknode.rpc.records import WorkEvent

MILLION = 10**6
BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
BYTE_STEP = 1024


def format_work(work: WorkEvent) -> str:
    """Return a piece of work in a line."""
    what = f"{work.kind} {work.subject}"
    amount = f"{format_amount(work.done, work.unit)} of {format_amount(work.total, work.unit)}"
    note = f"  {work.note}" if work.note else ""
    match work.state:
        case "running":
            return f"{what}  {amount}  {format_rate(work)}  {format_left(work)}{note}"
        case "done":
            return f"{what}  done: {amount} in {format_duration(work.elapsed_ms)}, {format_rate(work)}{note}"
        case "failed":
            return f"{what}  stopped at {amount}"


def format_rate(work: WorkEvent) -> str:
    """Return how much is done in a second."""
    rate = work.rate_millionths / MILLION
    if work.unit == "bytes":
        return f"{format_amount(int(rate), work.unit)}/s"
    return f"{rate:.1f} {work.unit}/s"


def format_left(work: WorkEvent) -> str:
    """Return how long it will still take."""
    return "time left unknown" if work.left_ms is None else f"{format_duration(work.left_ms)} left"


def format_amount(count: int, unit: str) -> str:
    """Return an amount of work with its unit, bytes in the unit that reads best."""
    if unit != "bytes":
        return f"{count} {unit}"
    size, index = float(count), 0
    while size >= BYTE_STEP and index + 1 < len(BYTE_UNITS):
        size, index = size / BYTE_STEP, index + 1
    return f"{size:.1f} {BYTE_UNITS[index]}" if index else f"{count} B"
