"""A replay gives the same bytes whoever runs it: also where sets and hashes fall otherwise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.demo import CONFIG, RECORDING


@pytest.mark.slow
def test_a_replay_by_another_process_gives_the_same_bytes(tmp_path: Path) -> None:
    logs = []
    for seed in ("1", "2"):
        log = tmp_path / f"{seed}.jsonl"
        files = [str(file) for file in sorted(RECORDING.glob("*.jsonl.gz"))]
        arguments = ["replay", *files, "-c", str(CONFIG), "--events", str(log)]
        subprocess.run(
            [sys.executable, "-m", "deploy.cli", *arguments],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[3],
            check=True,
            capture_output=True,
            timeout=600,
        )
        logs.append(log.read_bytes())
    assert logs[0].count(b"\n") > 10
    assert logs[0] == logs[1]
