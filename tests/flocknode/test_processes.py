"""What a process of a node does to itself."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

LIMITS = """
import resource
from flocknode.processes import raise_file_limit
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(raise_file_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(("soft", "hard", "expected"), [(256, 8192, 4096), (256, 512, 512), (6000, 8192, 6000)])
def test_a_daemon_may_open_what_it_needs(soft, hard, expected) -> None:
    """The soft limit is raised to what is wanted, as far as the hard one allows, and never lowered."""
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= hard, "this machine allows too few files"
    done = subprocess.run(
        [sys.executable, "-c", LIMITS.format(soft=soft, hard=hard)], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.stdout.split() == [str(min(expected, 4096)), str(expected)], done.stderr
