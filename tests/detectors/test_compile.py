"""Compiled code is kept, and never used for other sources than it was made of."""

from pathlib import Path

import pytest

from detectors.native import compile as compiling


@pytest.mark.parametrize("changed", ["native/steps.py", "limits.py"])
def test_code_is_kept_in_another_folder_once_a_source_or_a_constant_of_it_has_changed(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "product" / "native"
    package.mkdir(parents=True)
    package.joinpath("steps.py").write_text("from product.limits import MOST\n")
    package.parent.joinpath("limits.py").write_text("MOST = 1\n")
    monkeypatch.setattr(compiling, "_ROOT", tmp_path)
    folder = compiling._folder.__wrapped__
    before = folder(package)
    assert folder(package) == before
    with package.parent.joinpath(changed).open("a") as file:
        file.write("LEAST = 0\n")
    assert folder(package) != before
