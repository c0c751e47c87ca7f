"""The worker's process: what it hears from its parent while a job runs."""

import io
import os

from flocknode.frames import GiveWay, encode_frame
from flocknode.learning.child import Reporter, Requests


def test_a_request_to_give_way_holds_until_the_job_ends() -> None:
    """It comes once, maybe in a report whose answer the job does not look at; the next job begins without it."""
    reading, writing = os.pipe()
    requests = Requests(reading)
    report = Reporter(requests, io.BytesIO())
    assert not report(0, 9)
    os.write(writing, encode_frame(GiveWay()))
    assert [report(done, 9) for done in (1, 2, 3)] == [True, True, True]
    assert not Reporter(requests, io.BytesIO())(0, 9)
    os.close(writing)
    os.close(reading)
