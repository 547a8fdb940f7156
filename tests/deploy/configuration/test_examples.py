"""Every configuration that ships is accepted."""

from pathlib import Path

import pytest

import deploy
from deploy.configuration import load

ROOT = Path(deploy.__file__).parent
SHIPPED = [
    path
    for path in sorted([*ROOT.glob("examples/*.yaml"), ROOT / "demo" / "tocsin.yaml"])
    if path.name != "catalog-info.yaml"
]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_configuration_has_no_mistake(path: Path) -> None:
    load(path, {})
