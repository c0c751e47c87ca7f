"""A run as one picture (SVG): nodes from top to bottom, blocks from left to right, phases behind, time below.

Drawn from what the daemons told over RPC and nothing else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

from devnet.cast import CAST
from devnet.feed import WORK, FirstOnly, Told
from flocknode.rpc.records import BlockEvent, TaskEvent

WIDTH, LEFT, RIGHT, TOP, ROW, BOTTOM = 1080, 130, 20, 78, 34, 82
ROLES = {"creator": "#8c4351", "trainer": "#33635c", "validator": "#5a4a78"}
PHASE_COLOURS = {
    "opening": "#eef1f6",
    "submit": "#dfeaf5",
    "open": "#f6ecd9",
    "score": "#e6e0f2",
    "reveal": "#f4dfe3",
    "claim": "#dff0e4",
}
# The first words of what a node did, and the letter that stands for it.
MARKS = {
    "holds": ("H", "holds both encrypted datasets"),
    "trained": ("T", "trained"),
    "entered": ("E", "entered a model under a pseudonym"),
    "opened": ("O", "opened it"),
    "released": ("K", "released a dataset's key"),
    "committed": ("C", "committed to scores"),
    "revealed": ("R", "revealed them"),
    "claimed": ("A", "claimed authorship"),
    "published": ("P", "published a key"),
}


@dataclass(frozen=True)
class Deed:
    """Something a node did; `at` is the height it had then, and between two heights where it is drawn."""

    at: float
    name: str
    letter: str
    text: str


@dataclass(frozen=True)
class Begin:
    """A phase of an epoch (from 0) that began with the block at a height."""

    at: int
    epoch: int
    phase: str


class Picture:
    """Collects what is told, and draws it."""

    def __init__(self) -> None:
        self._first = FirstOnly()
        self._deeds: list[Deed] = []
        self._phases: list[Begin] = []
        self._blocks: dict[int, float] = {}

    def take(self, told: Told, at_s: float) -> None:
        """Note what a daemon told, at so many seconds since the start."""
        match told.event:
            case BlockEvent(height=height) if self._first.is_new(height):
                self._blocks[height] = at_s
            case TaskEvent(height=height, phase=phase, text=text) if phase == WORK:
                letter, _ = MARKS.get(text.partition(" ")[0], ("", ""))
                if letter:
                    self._deeds.append(Deed(height, told.name, letter, text))
            case TaskEvent(height=height, epoch=epoch, phase=phase) if self._first.is_new((epoch, phase)):
                if phase in PHASE_COLOURS or phase == "finished":
                    self._phases.append(Begin(height, epoch, phase))

    def draw(self, title: str) -> str:
        """Return the picture as a document of its own, with nothing loaded from elsewhere."""
        heights = sorted(self._blocks) or [0]
        axis = Axis(first=heights[0], last=heights[-1] + 1)
        height = TOP + ROW * len(CAST) + BOTTOM
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            f'<text x="16" y="24" font-size="16" fill="#1f2430">{escape(title)}</text>',
            *draw_phases(self._phases, axis),
            *draw_rows(),
            *(draw_deed(deed, axis) for deed in spread_out(self._deeds, axis)),
            *draw_axis(self._blocks, axis),
            *draw_key(height),
            "</svg>",
        ]
        return "\n".join(parts) + "\n"


@dataclass(frozen=True)
class Axis:
    """The heights that the picture spans."""

    first: int
    last: int

    def x(self, at: float) -> float:
        """Return where a height is drawn."""
        return LEFT + (at - self.first) * (WIDTH - LEFT - RIGHT) / (self.last - self.first)


def draw_phases(phases: list[Begin], axis: Axis) -> Iterable[str]:
    """Yield a band for each phase, from its first block to that of the next one."""
    ends = [following.at for following in phases[1:]] + [axis.last]
    for phase, end in zip(phases, ends, strict=False):
        if phase.phase not in PHASE_COLOURS:
            continue
        left, right = axis.x(phase.at), axis.x(end)
        label = phase.phase if phase.phase == "opening" else f"{phase.phase} {phase.epoch + 1}"
        yield (
            f'<rect x="{left:.1f}" y="{TOP - 10}" width="{right - left:.1f}" height="{ROW * len(CAST) + 14}" '
            f'fill="{PHASE_COLOURS[phase.phase]}"/>'
        )
        yield (
            f'<text x="{left + 3:.1f}" y="{TOP - 14}" fill="#3b4252" font-size="11" '
            f'transform="rotate(-24 {left + 3:.1f} {TOP - 14})">{label}</text>'
        )


def draw_axis(blocks: Mapping[int, float], axis: Axis) -> Iterable[str]:
    """Yield a tick for each block, and its height and time for some."""
    base = TOP + ROW * len(CAST) + 10
    yield f'<text x="16" y="{base + 9}" fill="#3b4252">blocks, time</text>'
    for height, at_s in blocks.items():
        x, is_named = axis.x(height), height % 5 == 0
        yield f'<line x1="{x:.1f}" y1="{base}" x2="{x:.1f}" y2="{base + (9 if is_named else 5)}" stroke="#7a8499"/>'
        if is_named:
            yield (
                f'<text x="{x:.1f}" y="{base + 21}" fill="#7a8499" font-size="10.5" text-anchor="middle">'
                f"{height}: {at_s:.1f} s</text>"
            )


def spread_out(deeds: list[Deed], axis: Axis) -> list[Deed]:
    """Return the deeds with those of one node that would cover each other moved apart, to the right."""
    least = 17 * (axis.last - axis.first) / (WIDTH - LEFT - RIGHT)
    last: dict[str, float] = {}
    spread = []
    for deed in sorted(deeds, key=lambda deed: deed.at):
        at = max(deed.at, last.get(deed.name, deed.at - least) + least)
        last[deed.name] = at
        spread.append(Deed(at, deed.name, deed.letter, deed.text))
    return spread


def draw_rows() -> Iterable[str]:
    """Yield one line per node, with its name and role."""
    for number, actor in enumerate(CAST):
        y = TOP + ROW * number + ROW / 2
        yield f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="#c5ccd9" stroke-width="0.7"/>'
        yield f'<text x="16" y="{y + 4}" fill="{ROLES[actor.role]}" font-weight="bold">{actor.name}</text>'
        yield f'<text x="64" y="{y + 4}" fill="#7a8499" font-size="11">{actor.role}</text>'


def draw_deed(deed: Deed, axis: Axis) -> str:
    """Return a lettered dot; pointing at it shows what was done."""
    number = next(index for index, actor in enumerate(CAST) if actor.name == deed.name)
    x, y = axis.x(deed.at), TOP + ROW * number + ROW / 2
    return (
        f"<g><title>{escape(deed.text)}</title>"
        f'<circle cx="{x:.1f}" cy="{y}" r="8" fill="{ROLES[CAST[number].role]}"/>'
        f'<text x="{x:.1f}" y="{y + 4}" fill="#ffffff" font-size="10" text-anchor="middle">{deed.letter}</text></g>'
    )


def draw_key(height: int) -> Iterable[str]:
    """Yield what the letters mean, in two lines."""
    entries = [f"{letter} {text}" for letter, text in MARKS.values()]
    for line, shown in enumerate((entries[:5], entries[5:])):
        text = escape("     ".join(shown))
        y = height - 24 + 15 * line
        yield f'<text x="16" y="{y}" fill="#3b4252" font-size="11" xml:space="preserve">{text}</text>'
