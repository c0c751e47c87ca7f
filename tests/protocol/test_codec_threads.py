"""Records that several threads meet at once: prepared, they are decoded as ever; else the process would die."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Four threads that take turns all the time meet records that no other has decoded yet, six deep, again and again.
PROGRAM = """
import sys
from threading import Barrier, Thread

import msgspec

from protocol.codec import decode, encode, prepare_decoders
from protocol.types import Record

sys.setswitchinterval(1e-6)
decoded = []

def meet():
    barrier.wait()
    decoded.append(decode(data, kind) == value)

for number in range(100):
    kind, value = int, 1
    for level in range(6):
        fields = [("a", kind), ("b", tuple[int, ...]), ("c", kind)]
        kind = msgspec.defstruct(f"R{number}L{level}", fields, bases=(Record,), frozen=True, array_like=True)
        value = kind(value, (1, 2), value)
    data, barrier = encode(value), Barrier(4)
    prepare_decoders(kind)
    threads = [Thread(target=meet) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print(decoded.count(True))
"""


def test_prepared_records_may_be_met_by_several_threads() -> None:
    """Each gives the record; without preparation, msgspec 0.22 ends the process within a few rounds."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "400\n"), done.stderr
