"""Empty stores of each kind that a sink can use."""

from pathlib import Path

import pytest
import sqlalchemy


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A file in a folder that is not there yet."""
    return f"sqlite:///{tmp_path}/var/store.sqlite3"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest) -> str:
    """An empty store of each kind."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    return new_database(request.getfixturevalue("postgres_url"), request.node.name)


def new_database(server: str, name: str) -> str:
    """A database of the test's own, as a URL without driver, as one writes it."""
    database = "sinks_" + "".join(ch if ch.isalnum() else "_" for ch in name)[:50].lower()
    engine = sqlalchemy.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f'DROP DATABASE IF EXISTS "{database}"')
        connection.exec_driver_sql(f'CREATE DATABASE "{database}"')
    engine.dispose()
    url = sqlalchemy.make_url(server).set(drivername="postgresql", database=database)
    return url.render_as_string(hide_password=False)
