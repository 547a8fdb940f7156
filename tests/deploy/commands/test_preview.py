"""`tocsin preview` and the part of `tocsin check` that fills templates."""

from pathlib import Path

import msgspec
import pytest

from deploy.commands.preview import run_preview
from deploy.commands.templates import RECORDED, broken_templates
from schemas.configuration import Catalogue, Configuration, Notifier, Service
from sinks.notifier.preview import Preview

DEMO = Path("deploy/demo/tocsin.yaml")


def preview(json: Path | None, incident: str | None = None, **changes: str) -> int:
    return run_preview(
        incident,
        config=DEMO,
        source=RECORDED,
        json=json,
        language=changes.get("language"),
        audience=changes.get("audience"),
        time_zone=changes.get("time_zone", "UTC"),
    )


def test_all_messages_of_a_replay_are_written_as_json(tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    assert preview(file) == 0
    made = [msgspec.json.decode(line, type=Preview) for line in file.read_bytes().splitlines()]
    assert {one.language for one in made} == {"en", "de", "fr"}
    assert {one.audience for one in made} == {
        "engineer",
        "manager",
        "support",
        "customer:retail",
        "customer:business",
    }
    assert len({one.stage for one in made}) == 6
    assert len({(m.incident_id, m.type, m.audience, m.language) for m in made}) == len(made)


def test_one_incident_is_printed_in_one_language(capsys: pytest.CaptureFixture[str]) -> None:
    assert preview(None, "INC-V3RE4EYX", language="de", audience="customer") == 0
    shown = capsys.readouterr().out
    assert "Warenkorb und Kasse: wir untersuchen eine Störung" in shown
    assert "INC-RGWT5CRT" not in shown


def test_a_sample_is_marked_beside_the_message_and_not_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out.jsonl"
    assert preview(file) == 0
    made = [msgspec.json.decode(line, type=Preview) for line in file.read_bytes().splitlines()]
    assert {one.type for one in made if one.sample} == {"public_message", "workaround", "follow_up"}
    hints = ("goes here", "Hier steht", "Ici figure")
    assert not any(hint in one.text for one in made for hint in hints)
    assert preview(None, "INC-V3RE4EYX", language="en", audience="customer") == 0
    assert "(what a person writes is a sample)" in capsys.readouterr().out


def test_an_incident_that_is_not_there_is_named_with_those_that_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert preview(None, "INC-NOT") == 2
    assert "it holds INC-N62XPEWP, INC-V3RE4EYX" in capsys.readouterr().err


def test_a_line_that_is_no_incident_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "broken.jsonl"
    file.write_bytes(RECORDED.read_bytes() + b'{"id": 1}\n')
    code = run_preview(
        None, config=None, source=file, json=None, language=None, audience=None, time_zone="UTC"
    )
    assert code == 2
    assert f"{file}:4:" in capsys.readouterr().err


def check(folder: Path) -> list[tuple[str, str]]:
    catalogue = Catalogue(services=(Service(name="cart", public_name="Shopping cart"),))
    section = Notifier(templates=str(folder))
    return list(broken_templates(Configuration(catalogue=catalogue, notifier=section)))


def write(folder: Path, name: str, text: str) -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_the_templates_that_ship_are_in_order(tmp_path: Path) -> None:
    assert check(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "text", "mend"),
    [
        ("en/customer/update.j2", "A {{ names\n", "update.j2:1"),
        ("en/customer/update.j2", "A\n{{ severity }}", "update.j2:2: 'severity' is undefined"),
        ("en/customer/update.j2", "A\nB\n{{ 1 // 0 }}", "update.j2:3: integer division"),
        ("en/customer/_facts.j2", "{{ secret }}", "_facts.j2:1: 'secret' is undefined"),
        ("en/customer/update.j2", "A\n{% include 'no.j2' %}", "update.j2:2: there is no template"),
        ("en/customer/update.j2", "\n\n\n", "update.j2:1: the message has no subject"),
        ("en/customer/update.j2", "A subject\n\n", "update.j2:1: the message has no text"),
        ("en/customer/update.j2", "A\ncheckoutservice", "names checkoutservice"),
        ("en/support/update.j2", "{% for a in [1] %}" * 3 + "{% endfor %}" * 3, "nests more"),
        ("en/customer/updte.j2", "A\nB", "did you mean customer/update.j2?"),
        ("klingon/customer/update.j2", "A\nB", "is no language"),
    ],
)
def test_a_template_that_would_fail_in_an_outage_is_named(
    tmp_path: Path, name: str, text: str, mend: str
) -> None:
    write(tmp_path, name, text)
    found = check(tmp_path)
    assert any(mend in f"{what}: {how}" for what, how in found)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert check(tmp_path / "nowhere") == [
        ("notifier.templates", f"{tmp_path}/nowhere is no folder")
    ]


def test_a_service_named_like_a_word_of_the_templates_is_told_in_one_line() -> None:
    catalogue = Catalogue(services=(Service(name="update"),))
    ((what, how),) = broken_templates(Configuration(catalogue=catalogue))
    assert what == "notifier templates"
    assert "messages more): names update" in how


def test_what_a_person_copied_out_of_a_log_is_not_in_a_customers_preview(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "See http://db-01.internal:8080/x at payments-db-7f9c4, at com.x.Foo(Foo.java:12)"
    plain = msgspec.json.decode(RECORDED.read_bytes().splitlines()[0])
    file = tmp_path / "one.jsonl"
    file.write_bytes(msgspec.json.encode({**plain, "workaround": said}))
    code = run_preview(
        plain["id"],
        config=DEMO,
        source=file,
        json=None,
        language="en",
        audience="customer",
        time_zone="UTC",
    )
    shown = capsys.readouterr().out
    assert code == 0
    assert "See one of our systems" in shown
    for inside in ("http:", "7f9c4", "Foo"):
        assert inside not in shown
