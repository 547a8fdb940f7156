"""The image and the unit give away no right that is not needed, by the word of others' tools."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import deploy

DEPLOY = Path(deploy.__file__).parent
EXPOSURE = 1.5
"""Of 10, by systemd's own count; a unit without any hardening has 9.6."""


def test_systemd_itself_finds_little_that_the_unit_may_do(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on the path")
    unit = tmp_path / "tocsin@worker.service"
    unit.write_bytes((DEPLOY / "systemd" / "tocsin@.service").read_bytes())
    asked = ["systemd-analyze", "security", "--offline=true", str(unit)]
    looked = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    if (found := re.search(r"exposure level for \S+: ([\d.]+)", looked.stdout)) is None:
        pytest.skip(f"systemd-analyze cannot look at units offline: {looked.stderr}")
    assert float(found[1]) <= EXPOSURE, looked.stdout


def parts() -> dict[str, Any]:
    """What compose runs of tocsin itself."""
    compose = YAML(typ="safe").load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return {name: s for name, s in compose["services"].items() if s["image"] == "tocsin"}


def test_compose_gives_its_parts_no_rights_and_asks_each_how_it_is() -> None:
    found = parts()
    assert {"worker", "notifier", "case-store", "status-page"} <= set(found)
    for name, service in found.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "user", "cap_add", "pid", "network_mode"} & set(service), name
        published = service["ports"][0].rpartition(":")[2]
        said = " ".join(service["healthcheck"]["test"])
        assert "/health/live" in said, name
        assert published in said, name
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name


def test_the_image_ends_as_nobody_without_a_shell_or_tools_to_install_more() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    last = text[text.rindex("\nFROM ") :]
    assert "--shell /usr/sbin/nologin" in last
    assert re.findall(r"^USER (\S+)$", last, re.MULTILINE) == ["10001:10001"]
    assert "pip uninstall --yes pip setuptools wheel" in last
    assert not re.search(r"\b(ADD|curl|wget|apt-get|sudo|chmod 777)\b", text)
