"""`tocsin`: every part of the pipeline, and every question to it, from one command line.

Each module adds the commands of one group; what a command does is in `deploy.commands` or near it.
"""

import sys
import traceback
from types import TracebackType

from deploy.cli import answers, bench, chaos, processes, questions, setup
from deploy.cli.shared import app
from deploy.configuration import ConfigurationError
from schemas.reading import NewerMessageError, said
from sinks.redaction import redact_text

__all__ = ["answers", "app", "bench", "chaos", "main", "processes", "questions", "setup"]


def main() -> None:
    """The console script."""
    sys.excepthook = show_uncaught
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
    except NewerMessageError as error:
        print(f"tocsin: a newer release wrote what is asked for: {error}; run it", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


def show_uncaught(
    kind: type[BaseException], error: BaseException, where: TracebackType | None
) -> None:
    """What Python prints of a mistake of ours, without the secrets that its text may hold."""
    text = "".join(traceback.format_exception(kind, error, where))
    print(redact_text(text), end="", file=sys.stderr)
