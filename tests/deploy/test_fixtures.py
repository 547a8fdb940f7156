"""The shared fixtures give what they promise."""

import subprocess
from pathlib import Path

import pytest
import sqlalchemy


@pytest.mark.postgres
@pytest.mark.slow
def test_the_database_server_answers(postgres_url: str) -> None:
    engine = sqlalchemy.create_engine(postgres_url)
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("select 1 + 1")) == 2
    engine.dispose()


@pytest.mark.browser
def test_chromium_is_a_program(chromium: str) -> None:
    assert Path(chromium).exists()
    shown = subprocess.run([chromium, "--version"], capture_output=True, text=True, check=True)
    assert "Chrom" in shown.stdout
