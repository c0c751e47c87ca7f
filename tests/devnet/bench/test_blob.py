"""The throughput of blobs, of a small one."""

import json
from pathlib import Path

from devnet.bench import blob
from devnet.commands import main


def test_the_bench_prints_its_table_alone_and_three_uplinks_are_faster_than_one(
    monkeypatch, capfd, tmp_path: Path
) -> None:
    """What links do is no part of it; peers behind lines of 8 MB/s deliver together what one of them cannot."""
    monkeypatch.setattr(blob, "BLOB_BYTES", 8 * 2**20)
    monkeypatch.setattr(blob, "UPLINK_BYTES_S", 8_000_000)
    monkeypatch.setattr(blob, "ROUNDS", 1)
    assert main(["bench", "blob", "--json", str(tmp_path / "figures.json")]) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    assert printed.out.startswith("blob: 8 MiB over loopback")
    assert "link up" not in printed.out
    values = {
        figure["name"]: figure["value"] for figure in json.loads((tmp_path / "figures.json").read_bytes())["figures"]
    }
    assert all(value > 0 for value in values.values())
    assert values["from 3 such peers"] > 1.5 * values["from one peer that sends 8 MB/s"]
