"""The picture of a run."""

import xml.etree.ElementTree as ET

from devnet.feed import Told
from devnet.picture import Picture
from flocknode.rpc.records import BlockEvent, TaskEvent

SVG = "{http://www.w3.org/2000/svg}"


def told(name: str, height: int, phase: str, text: str, epoch: int = 0) -> Told:
    return Told(name, TaskEvent(height=height, index=0, task=1, name="<digits>", epoch=epoch, phase=phase, text=text))


def block(height: int) -> Told:
    event = BlockEvent(
        height=height,
        block="0" * 64,
        round=0,
        time_ms=0,
        proposer="0" * 64,
        transactions=0,
        signed=5,
        replicas=7,
        duration_ms=1,
    )
    return Told("alice", event)


def draw(*events: Told) -> ET.Element:
    picture = Picture()
    for number, event in enumerate(events):
        picture.take(event, number / 10)
    return ET.fromstring(picture.draw("a <run> & more"))


def texts(root: ET.Element) -> list[str | None]:
    return [element.text for element in root.iter(f"{SVG}text")]


def test_a_phase_is_drawn_once_whoever_tells_it():
    """Seven nodes tell the same phase; the picture has one band for it."""
    root = draw(
        block(1),
        *(told(name, 1, "submit", "open") for name in ("alice", "bob")),
        told("bob", 2, "open", "closed"),
        block(3),
    )
    assert [text for text in texts(root) if text in ("submit 1", "open 1")] == ["submit 1", "open 1"]


def test_deeds_of_one_node_in_one_block_do_not_cover_each_other():
    """Two deeds at one height stand side by side, with their words in a tooltip."""
    root = draw(
        block(1), told("bob", 1, "work", "entered a model as <aa>"), told("bob", 1, "work", "opened aa"), block(40)
    )
    circles = [float(circle.attrib["cx"]) for circle in root.iter(f"{SVG}circle")]
    assert len(circles) == 2
    assert circles[1] - circles[0] >= 16
    assert "entered a model as <aa>" in [title.text for title in root.iter(f"{SVG}title")]


def test_a_run_without_anything_is_still_a_picture():
    """No block, no deed: the rows alone."""
    assert "alice" in texts(draw())
