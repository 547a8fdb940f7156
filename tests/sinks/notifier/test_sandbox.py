"""What templates that people write themselves may do, and what stops them."""

import time
from pathlib import Path

import pytest
from jinja2 import TemplateError

from sinks.notifier.clean import clean
from sinks.notifier.sandbox import MAX_SOURCE, Sandbox, TemplateTooGreedyError

NAMES = tuple(f"name{number}" for number in range(200))


def fill(folder: Path, source: str, **facts: object) -> str:
    (folder / "t.j2").write_text(source)
    made = Sandbox((folder,), clean)
    return made.fill(made.find("t.j2"), {"names": NAMES, **facts})


@pytest.mark.parametrize(
    "source",
    [
        "{{ ().__class__.__mro__ }}",
        "{{ names.__class__ }}",
        "{{ 'a' * 1000000000 }}",
        "{{ names * 1000000000 }}",
        "{{ 2 ** 100000000 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 'a'.center(1000000000) }}",
        "{{ '{:>1000000000}'.format('a') }}",
        "{{ 'a' | center(1000000000) }}",
        "{% for i in range(1000) %}{% endfor %}",
        "{{ nothing_of_that_name }}",
        "{{ names[0].nothing }}",
        "{% include 'no-such-file.j2' %}",
        "{% for a in names %}{% for b in names %}{% for c in names %}x{% endfor %}{% endfor %}"
        "{% endfor %}",
        "{% for a in names %}{% for b in names %}xxxxxxxxxx{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
        "{% include 't.j2' %}{% include 't.j2' %}",
        "x" * (MAX_SOURCE + 1),
    ],
)
def test_what_a_message_never_needs_ends_at_once_with_an_error(tmp_path: Path, source: str) -> None:
    began = time.process_time()
    with pytest.raises(TemplateError):
        fill(tmp_path, source)
    assert time.process_time() - began < 2


def test_a_loop_of_lookups_runs_out_of_fuel(tmp_path: Path) -> None:
    source = "{% for a in names %}{% for b in names %}{% if a[0] == b[0] %}{% endif %}{% endfor %}"
    with pytest.raises(TemplateTooGreedyError, match="looks up"):
        fill(tmp_path, source + "{% endfor %}")


def test_what_messages_need_is_there(tmp_path: Path) -> None:
    source = "{% macro m(x) %}{{ x | upper }}{% endmacro %}{% for n in names[:2] %}{{ m(n) }} {% endfor %}{{ 7 // 2 + 6 % 4 * 2 }}"  # noqa: E501
    assert fill(tmp_path, source) == "NAME0 NAME1 7"


def test_every_value_is_cleaned_as_it_is_printed(tmp_path: Path) -> None:
    assert fill(tmp_path, "{{ x }}", x="a\n\nb\x00c\u202e") == "a b c"
