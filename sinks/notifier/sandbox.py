"""Templates that people may write themselves, and that can do nothing but say something.

Jinja's sandbox keeps templates away from Python's insides, but not from eating time and memory.
So here a template also has fuel: it may look up so many values, call so many macros and include so
many files, nest loops twice, and print so much; methods of values cannot be called, and only
filters that cannot grow their input are there.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from traceback import walk_tb
from types import CodeType, FrameType
from typing import Any

from jinja2 import (
    ChoiceLoader,
    FileSystemLoader,
    StrictUndefined,
    Template,
    TemplateError,
    TemplateNotFound,
    TemplateRuntimeError,
    TemplateSyntaxError,
    nodes,
)
from jinja2.bccache import Bucket, BytecodeCache
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, Macro
from jinja2.sandbox import SandboxedEnvironment

MAX_SOURCE = 20_000
MAX_OUTPUT = 40_000
MAX_FUEL = 20_000
MAX_LOOPS = 2
FILTERS = frozenset(
    (
        "abs",
        "capitalize",
        "default",
        "escape",
        "first",
        "float",
        "int",
        "join",
        "last",
        "length",
        "list",
        "lower",
        "max",
        "min",
        "replace",
        "reverse",
        "round",
        "sort",
        "sum",
        "title",
        "trim",
        "truncate",
        "unique",
        "upper",
    )
)
"""Of Jinja's own filters, those that make nothing out of nothing."""


class TemplateTooGreedyError(TemplateError):
    """A template wanted more than a message needs; says what."""


def described(error: Exception) -> str:
    """What is wrong with a template, with its file and line where they are known."""
    if isinstance(error, TemplateSyntaxError):
        return f"{error.filename or error.name}:{error.lineno}: {error.message}"
    place = _place(error) or (error.__cause__ and _place(error.__cause__))
    what = str(error) if isinstance(error, TemplateError) else f"{type(error).__name__}: {error}"
    if isinstance(error, TemplateNotFound):
        what = f"there is no template {error.name}"
    return f"{place}: {what}" if place else what


def _place(error: BaseException) -> str | None:
    """File and line of the innermost template that an error went through."""
    steps = walk_tb(error.__traceback__)
    places = [f"{frame.f_code.co_filename}:{line}" for frame, line in steps if _is_template(frame)]
    return places[-1] if places else None


def _is_template(frame: FrameType) -> bool:
    return frame.f_code.co_filename.endswith(".j2")


class _Compiled(BytecodeCache):
    """What templates compile to, for all environments of the process: most differ in their folders
    alone, and a template that several of them include would be compiled by each."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        if isinstance(bucket.code, CodeType):
            self._codes[bucket.key, bucket.checksum] = bucket.code


_compiled = _Compiled()


class Sandbox(SandboxedEnvironment):
    """An environment whose templates are bounded in time, memory and what they can reach."""

    intercepted_binops = frozenset(("*", "**", "%"))

    def __init__(self, folders: Sequence[Path], finalize: Callable[[object], str]) -> None:
        super().__init__(
            loader=ChoiceLoader([FileSystemLoader(folder) for folder in folders]),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=finalize,
            auto_reload=False,
            bytecode_cache=_compiled,
        )
        self.filters = {name: self.filters[name] for name in sorted(FILTERS)}
        self.globals = {}
        self._fuel = 0

    def find(self, name: str) -> Template:
        """The template of that name. Raises jinja2.TemplateError."""
        self._fuel = MAX_FUEL
        return self.get_template(name)

    def fill(self, template: Template, facts: dict[str, object]) -> str:
        """The text of a template. Raises jinja2.TemplateError, TemplateTooGreedyError also."""
        self._fuel = MAX_FUEL
        made: list[str] = []
        room = MAX_OUTPUT
        try:
            for part in template.generate(facts):
                room -= len(part)
                if room < 0:
                    raise TemplateTooGreedyError(
                        f"{template.name} prints more than {MAX_OUTPUT} characters"
                    )
                made.append(part)
        except TemplateError:  # one of them is a LookupError as well
            raise
        except RecursionError as error:
            endless = f"{template.name} includes or calls itself without an end"
            raise TemplateTooGreedyError(endless) from error
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise TemplateRuntimeError(str(error)) from error
        return "".join(made)

    def burn(self) -> None:
        """Uses up some fuel. Raises TemplateTooGreedyError when there is none left."""
        self._fuel -= 1
        if self._fuel < 0:
            raise TemplateTooGreedyError(f"looks up more than {MAX_FUEL} values")

    # -- what a template does, each step of which is counted ---------------------------------

    def getattr(self, obj: Any, attribute: str) -> Any:
        """As Jinja, for fuel."""
        self.burn()
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """As Jinja, for fuel."""
        self.burn()
        return super().getitem(obj, argument)

    def call(self, context: Context, called: Any, *args: Any, **kwargs: Any) -> Any:
        """As Jinja, for fuel, and only for macros."""
        self.burn()
        return super().call(context, called, *args, **kwargs)

    def is_safe_callable(self, obj: Any) -> bool:
        """Macros alone: methods of values can be made to grow without bounds."""
        return isinstance(obj, Macro)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on numbers alone: `"a" * 1_000_000_000` is a text, too."""
        self.burn()
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if not numbers or operator == "**":
            raise SecurityError(f"{operator} works on numbers only, and ** not at all")
        return super().call_binop(context, operator, left, right)

    def get_template(self, *args: Any, **kwargs: Any) -> Template:
        """As Jinja, for fuel: what a template includes."""
        self.burn()
        return super().get_template(*args, **kwargs)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        if len(source) > MAX_SOURCE:
            raise TemplateTooGreedyError(f"{name} has more than {MAX_SOURCE} characters")
        tree = super()._parse(source, name, filename)
        if _depth(tree) > MAX_LOOPS:
            raise TemplateTooGreedyError(f"{name} nests more than {MAX_LOOPS} loops")
        return tree


def _depth(node: nodes.Node) -> int:
    """How deep loops are nested below a node."""
    own = int(isinstance(node, nodes.For))
    return own + max(map(_depth, node.iter_child_nodes()), default=0)
