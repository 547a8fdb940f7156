"""How a part ends that cannot work as it is configured."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("part", "text", "said"),
    [
        (
            "notifier",
            "notifier: {signing_secret: {env: TOCSIN_NOT_THERE}}",
            "tocsin notifier: notifier.signing_secret: the environment variable TOCSIN_NOT_THERE "
            "is not set; export it before the start, or name a file instead\n",
        ),
        (
            "case-store",
            "case_store: {store: 'mysql://host/name'}",
            "{file}:1 case_store.store: must be sqlite:///path/to/file or "
            "postgresql://user@host/database\n",
        ),
    ],
)
def test_a_wrong_configuration_ends_in_one_line_and_is_not_worth_a_restart(
    part: str, text: str, said: str, tmp_path: Path
) -> None:
    configuration = tmp_path / "tocsin.yaml"
    configuration.write_text(text, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")}
    ended = subprocess.run(
        [sys.executable, "-m", "deploy.cli", part, "-c", str(configuration)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = said.replace("{file}", str(configuration))
    assert (ended.stderr, ended.returncode) == (said, 2)  # the unit's RestartPreventExitStatus
