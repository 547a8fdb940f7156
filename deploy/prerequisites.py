"""Finds what the integration tests need outside Python, or installs it where that is possible.

As root on a Debian system the missing packages are installed; elsewhere one clear line a tool says
what is missing, and the tests that need it are skipped with the same words.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Tool:
    """A program that some tests need: any of `commands` on the path will do."""

    commands: tuple[str, ...]
    package: str
    why: str

    def present(self) -> bool:
        """Whether one of the commands is on the path."""
        return any(shutil.which(command) for command in self.commands)


TOOLS = (
    Tool(("chromium", "chromium-browser"), "chromium", "the browser tests"),
    Tool(("javac",), "openjdk-17-jdk-headless", "the tests on a real Apache Kafka"),
    Tool(("mvn",), "maven", "fetching Apache Kafka's jars"),
    Tool(("postgres",), "postgresql", "the case store's tests on PostgreSQL"),
)


def missing(tools: tuple[Tool, ...] = TOOLS) -> list[Tool]:
    """The tools that are not on the path."""
    return [tool for tool in tools if not tool.present()]


def main() -> int:
    """Installs what is missing, or names it. Returns 0: a missing tool only skips its tests."""
    lacking = missing()
    if lacking and os.name == "posix" and os.geteuid() == 0 and shutil.which("apt-get"):
        packages = [tool.package for tool in lacking]
        print(f"installing {' '.join(packages)}", flush=True)
        subprocess.run(["apt-get", "update", "-qq"], check=False)  # noqa: S607
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
        subprocess.run(install, check=False, stdout=subprocess.DEVNULL)  # noqa: S603
    for tool in missing():
        print(
            f"{tool.package} is missing: {tool.why} will be skipped; "
            f"install it with your package manager",
            file=sys.stderr,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
