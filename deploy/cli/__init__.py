"""`tocsin`: every part of the pipeline, and every question to it, from one command line.

Each module adds the commands of one group; what a command does is in `deploy.commands` or near it.
"""

import sys

from deploy.cli import answers, bench, chaos, processes, questions, setup
from deploy.cli.shared import app
from deploy.configuration import ConfigurationError
from schemas.reading import said

__all__ = ["answers", "app", "bench", "chaos", "main", "processes", "questions", "setup"]


def main() -> None:
    """The console script."""
    try:
        code = app(sys.argv[1:], result_action="return_value")
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        code = 2
    except OSError as error:
        # A file that an option names; anything else is a fault of ours, and shows where.
        if error.filename is None:
            raise
        print(f"tocsin: {said(error)}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    sys.exit(code if isinstance(code, int) else 0)
