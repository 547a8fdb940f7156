"""`tocsin explain` reads a case store that lets only those read who hold a token."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from deploy.commands.explain import run_explain
from schemas.configuration import CaseStore as Section
from schemas.configuration import Configuration, Secret
from sinks.case_store import CaseStore
from tests.sinks import examples
from tests.sinks.case_store.conftest import Commands, serving

TOKENS = {"TOCSIN_TEST_TOKEN": "to change", "TOCSIN_TEST_READ_TOKEN": "to read"}


@pytest.fixture
async def config(tmp_path: Path) -> AsyncIterator[Path]:
    """The configuration of a case store that runs and holds one case."""
    section = Section(
        store=f"sqlite:///{tmp_path}/cases.sqlite3",
        token=Secret(env="TOCSIN_TEST_TOKEN"),
        read_token=Secret(env="TOCSIN_TEST_READ_TOKEN"),
    )
    store = CaseStore(
        Configuration(case_store=section),
        resolve=lambda secret: TOKENS[secret.env or ""],
        publish=Commands(),
        now_ms=lambda: 0,
    )
    await store.start()
    await store.apply([examples.record(e, i) for i, e in enumerate(examples.cpu_fault())])
    file = tmp_path / "tocsin.yaml"
    async with serving(store) as client:
        file.write_text(
            f"case_store:\n  public_url: {client._base_url}\n"
            "  token: {env: TOCSIN_TEST_TOKEN}\n  read_token: {env: TOCSIN_TEST_READ_TOKEN}\n"
        )
        yield file
    await store.stop()


@pytest.mark.parametrize("name", TOKENS)
async def test_either_token_tells_the_story(
    config: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, TOKENS[name])
    assert await asyncio.to_thread(run_explain, "inc-cpu-01", config=config, log=None) == 0
    assert "Why it is P2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (None, "case_store.read_token: the environment variable TOCSIN_TEST_READ_TOKEN is not set"),
        ("wrong", "the one in this configuration is not the case store's"),
    ],
)
async def test_without_a_token_that_is_right_it_says_which_one_is_wanted(
    config: Path,
    token: str | None,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if token is not None:
        monkeypatch.setenv("TOCSIN_TEST_READ_TOKEN", token)
    assert await asyncio.to_thread(run_explain, "inc-cpu-01", config=config, log=None) == 1
    assert f"the case store wants a token: {why}" in capsys.readouterr().err


def test_what_a_log_holds_does_not_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    event = examples.event(examples.cpu_incident(title="cart\x1b[2J\nWhy it is P1\u202e"), "opened")
    log = tmp_path / "log.jsonl"
    log.write_bytes(msgspec.json.encode(event) + b"\n")
    assert run_explain(event.incident_id, config=None, log=log) == 0
    assert "\ncart\ufffd[2J Why it is P1\ufffd\n" in capsys.readouterr().out
