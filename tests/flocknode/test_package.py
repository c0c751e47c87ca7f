"""The package notices when a name it needs belongs to another distribution."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["protocol", "storage"])
def test_a_foreign_package_of_the_same_name_is_named(tmp_path, name):
    """Importing flocknode beside a foreign `protocol` or `storage` fails with the name, the place and the way out."""
    (tmp_path / f"{name}.py").write_text("")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import flocknode"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode != 0
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: another distribution owns the package '{name}' ({tmp_path}")
    assert "virtual environment" in last
