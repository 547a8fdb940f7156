"""What is wrong with a configuration, and where."""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Mistake:
    """One thing to mend. `line` counts from 1; 0 means the file as a whole."""

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where} {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


class ConfigurationError(Exception):
    """A configuration that cannot be used; `mistakes` has all that was found, in file order."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        self.mistakes = sorted(set(mistakes))
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))
