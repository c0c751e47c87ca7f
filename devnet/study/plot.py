"""A study as one picture (SVG), like the paper's Fig. 6: mean stakes round by round, and accuracy below.

One column for each share of malicious clients, two rows for each attack on each dataset.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import product

from devnet.study.bank import STAKE_UNITS
from devnet.study.course import DEFENCES, Defence, Round
from devnet.study.grid import CLEAN, Outcome
from protocol.fixed import MILLION
from protocol.types import UNITS_PER_FML

LEFT, TOP, WIDTH, HEIGHT, GAP_X, GAP_Y, BOTTOM = 120, 64, 200, 96, 34, 34, 20
# What the line that explains the colours needs.
KEY_WIDTH = 1040
COLOURS: dict[Defence, str] = {"none": "#8a8f98", "aggregate": "#c06c2b", "per_proposal": "#2b6ca3"}
CLEAN_COLOUR = "#7aa37a"


@dataclass(frozen=True)
class Curve:
    """Values from 0 to 1 of the panel's height, one for each round; `dashes` as SVG has them."""

    values: tuple[float, ...]
    colour: str
    dashes: str
    title: str


@dataclass(frozen=True)
class Panel:
    """Curves in one frame; `top` and `bottom` label the ends of its scale."""

    curves: tuple[Curve, ...]
    top: str
    bottom: str


def draw_study(outcomes: Sequence[Outcome], title: str) -> str:
    """Return the picture of all courses of the first aggregation rule, as a document of its own."""
    shown = [one for one in outcomes if one.setting.rule == outcomes[0].setting.rule]
    percents = sorted({one.setting.malicious_percent for one in shown} - {CLEAN})
    attacked = [one.setting for one in shown if one.setting.malicious_percent != CLEAN]
    kinds = list(dict.fromkeys((setting.dataset, setting.attack) for setting in attacked))
    width = max(KEY_WIDTH, LEFT + len(percents) * (WIDTH + GAP_X))
    height = TOP + 2 * len(kinds) * (HEIGHT + GAP_Y) + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="22" font-size="15" fill="#1f2430">{escape(title)}</text>',
        *draw_key(),
    ]
    for column, percent in enumerate(percents):
        x = LEFT + column * (WIDTH + GAP_X)
        parts.append(f'<text x="{x}" y="{TOP - 6}" fill="#3b4252">{percent} % malicious</text>')
    for (row, (dataset, attack)), (column, percent) in product(enumerate(kinds), enumerate(percents)):
        own = [one for one in shown if one.setting.dataset == dataset]
        mine = [one for one in own if (one.setting.attack, one.setting.malicious_percent) == (attack, percent)]
        clean = [one for one in own if one.setting.malicious_percent == CLEAN]
        x, y = LEFT + column * (WIDTH + GAP_X), TOP + 2 * row * (HEIGHT + GAP_Y)
        parts += draw_panel(make_stakes(mine), x, y)
        parts += draw_panel(make_accuracy(mine, clean), x, y + HEIGHT + GAP_Y)
        if column == 0:
            for line, text in enumerate((dataset, attack, "stakes, FML")):
                parts.append(f'<text x="16" y="{y + 14 + 14 * line}" fill="#3b4252">{text}</text>')
            parts.append(f'<text x="16" y="{y + HEIGHT + GAP_Y + 14}" fill="#3b4252">accuracy</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def make_stakes(outcomes: Sequence[Outcome]) -> Panel:
    """Return the mean stakes: of the honest drawn through, of the malicious dashed."""
    defended = [one for one in outcomes if one.setting.defence != "none"]
    highest = max((max(r.honest_units, r.malicious_units) for one in defended for r in one.rounds), default=STAKE_UNITS)
    curves = []
    for one in defended:
        for dashes, name in (("", "honest"), ("4 3", "malicious")):
            units = [STAKE_UNITS, *(getattr(played, f"{name}_units") for played in one.rounds)]
            title = f"{one.setting.describe()}: {name}, {units[-1] / UNITS_PER_FML:.1f} FML in the end"
            values = tuple(value / highest for value in units)
            curves.append(Curve(values, COLOURS[one.setting.defence], dashes, title))
    return Panel(tuple(curves), f"{highest / UNITS_PER_FML:.0f}", "0")


def make_accuracy(outcomes: Sequence[Outcome], clean: Sequence[Outcome]) -> Panel:
    """Return the global model's accuracy, and dotted what it is without malicious clients."""
    curves = [
        Curve(read_accuracy(one.rounds), CLEAN_COLOUR, "1 3", f"{one.setting.describe()}: clean") for one in clean[-1:]
    ]
    for one in outcomes:
        values = read_accuracy(one.rounds)
        title = f"{one.setting.describe()}: {values[-1]:.4f} in the end"
        curves.append(Curve(values, COLOURS[one.setting.defence], "", title))
    return Panel(tuple(curves), "1", "0")


def read_accuracy(rounds: Sequence[Round]) -> tuple[float, ...]:
    """Return the accuracy after each round."""
    return tuple(one.accuracy_millionths / MILLION for one in rounds)


def draw_panel(panel: Panel, x: float, y: float) -> Iterator[str]:
    """Yield a frame with its curves; pointing at one shows what it is."""
    yield f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" fill="#f7f8fa" stroke="#c5ccd9"/>'
    for label, at in ((panel.top, y + 8), (panel.bottom, y + HEIGHT)):
        yield f'<text x="{x - 4}" y="{at}" fill="#7a8499" font-size="9" text-anchor="end">{label}</text>'
    for curve in panel.curves:
        step = WIDTH / max(1, len(curve.values) - 1)
        points = " ".join(f"{x + step * n:.1f},{y + HEIGHT * (1 - value):.1f}" for n, value in enumerate(curve.values))
        yield (
            f'<polyline points="{points}" fill="none" stroke="{curve.colour}" stroke-width="1.5" '
            f'stroke-dasharray="{curve.dashes}"><title>{escape(curve.title)}</title></polyline>'
        )


def draw_key() -> Iterator[str]:
    """Yield what the colours mean."""
    labels: dict[Defence, str] = {
        "none": "without defence",
        "aggregate": "one vote on the aggregate",
        "per_proposal": "a vote on each update",
    }
    for number, defence in enumerate(DEFENCES):
        x = 16 + 200 * number
        yield f'<line x1="{x}" y1="36" x2="{x + 18}" y2="36" stroke="{COLOURS[defence]}" stroke-width="2"/>'
        yield f'<text x="{x + 24}" y="40" fill="#3b4252">{labels[defence]}</text>'
    yield '<text x="620" y="40" fill="#3b4252">stakes: honest drawn through, malicious dashed; dotted: clean run</text>'
