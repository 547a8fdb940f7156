"""What ships for operators: container, compose file, systemd unit, and the image's lock file."""

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

import deploy
from deploy.cli import app
from deploy.commands.check import run_check
from deploy.configuration import load
from deploy.configuration.references import secrets_in
from schemas.configuration import Configuration

DEPLOY = Path(deploy.__file__).parent
ROOT = DEPLOY.parent
PARTS = ("worker", "notifier", "case-store", "status-page", "playbooks")


def locked(name: str) -> dict[str, set[str]]:
    """Version, marker and hashes of each package of a lock file."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    pins: dict[str, set[str]] = {}
    for line in text.splitlines():
        if match := re.match(r"([A-Za-z0-9_.-]+)==(\S+)", line):
            pins[match[1]] = {match[2], *re.findall(r"--hash=(\S+)", line)}
    return pins


def test_the_image_installs_what_was_tested_and_no_tools() -> None:
    image, tested = locked("requirements.lock"), locked("requirements-dev.lock")
    assert {name: pins for name, pins in image.items() if tested.get(name) != pins} == {}
    assert all(len(pins) > 1 for pins in image.values()), "a package without a hash"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [Requirement(text) for text in project["project"]["dependencies"]]
    assert {canonicalize_name(requirement.name) for requirement in wanted} <= set(image)
    tools = [Requirement(t).name for t in project["dependency-groups"]["dev"]]
    # Playwright, mypy and the like; python-multipart and others may be needed by both.
    assert not {"mypy", "pytest", "ruff", "playwright", "hypothesis"} & set(image)
    assert set(tools) - set(image)


def test_the_image_holds_all_of_the_product_and_runs_without_rights() -> None:
    lines = (DEPLOY / "Dockerfile").read_text()
    copied = [
        name
        for words in re.findall(r"^COPY (?!--from)(.+) \S+$", lines, re.MULTILINE)
        for name in words.split()
    ]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(packages) <= set(copied)
    assert [name for name in copied if not (ROOT / name).exists()] == []
    let_in = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {f"!{name}" for name in copied} == {line for line in let_in if line.startswith("!")}
    last = lines[lines.rindex("\nFROM ") :]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert "--require-hashes" in lines


@pytest.fixture
def compose() -> dict[str, Any]:
    document: dict[str, Any] = YAML(typ="safe").load((DEPLOY / "compose.yaml").read_text())
    return document


@pytest.fixture
def configuration(compose: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "tocsin.yaml"
    path.write_text(compose["configs"]["tocsin"]["content"])
    return path


def test_compose_runs_every_part_on_the_configuration_that_it_holds(
    compose: dict[str, Any], configuration: Path
) -> None:
    services = compose["services"]
    assert {"kafka", "postgres", *PARTS} <= set(services)
    for part in PARTS:
        service = services[part]
        (mounted,) = service["configs"]
        assert service["command"] == [part, "-c", mounted["target"]]
        assert service["read_only"] is True
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists()
        listen = listens(load(configuration, {}))[part]
        assert service["ports"] == [f"127.0.0.1:{listen}:{listen}"]
        assert str(listen) in " ".join(service["healthcheck"]["test"])
    named = {volume.partition(":")[0] for s in services.values() for volume in s.get("volumes", ())}
    assert named == set(compose["volumes"])


def test_what_compose_configures_is_accepted_and_its_secrets_are_given(
    compose: dict[str, Any], configuration: Path
) -> None:
    assert run_check(configuration, offline=True) == 0
    given = compose["services"]["case-store"]["environment"]
    for path, secret in secrets_in(load(configuration, {})):
        assert secret.env in given, path


def listens(configuration: Configuration) -> dict[str, int]:
    return {
        "worker": configuration.worker.admin.port,
        "notifier": configuration.notifier.listen.port,
        "case-store": configuration.case_store.listen.port,
        "status-page": configuration.status_page.listen.port,
        "playbooks": configuration.playbooks.listen.port,
    }


@pytest.mark.parametrize("part", PARTS)
def test_the_unit_starts_a_command_that_exists_without_rights(part: str) -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]  # systemd minds case
    unit.read(DEPLOY / "systemd" / "tocsin@.service")
    service = unit["Service"]
    program, *arguments = service["ExecStart"].replace("%i", part).split()
    assert Path(program).name == "tocsin"
    _, bound, ignored = app.parse_args(arguments, exit_on_error=False, print_error=False)
    assert bound.arguments["config"] == Path("/etc/tocsin/tocsin.yaml")
    assert not ignored
    assert (service["DynamicUser"], service["NoNewPrivileges"]) == ("yes", "yes")
