"""Words: every template works, says what its reader needs, and customers see nothing internal."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.configuration import Recipient
from schemas.incidents import EventType, Impact, Incident, IncidentEvent
from sinks.notifier.channels.channel import LABELS, paragraphs
from sinks.notifier.messages import Ask, Stage
from sinks.notifier.routing import STAGES
from sinks.notifier.words import Words, Writer, clean, duration, percent, symptom, words
from sinks.words import moment
from tests.sinks.examples import cpu_incident, event, network_incident
from tests.sinks.notifier.conftest import CATALOGUE

AUDIENCES = ("engineer", "manager", "support", "customer")
replace = msgspec.structs.replace


def write(
    audience: str, stage: Stage, incident: Incident | None = None, **changes: object
) -> Words:
    made = event(incident or cpu_incident(), stage)  # type: ignore[arg-type]
    made = replace(made, **changes)
    recipient = Recipient(name="x", channel="console", audience=audience)  # type: ignore[arg-type]
    ask = Ask(stage=stage, recipient=recipient, rule="rule", event=made, first=True)
    return Writer(CATALOGUE).write(ask)


def at_stage(stage: Stage) -> Incident:
    incident = cpu_incident()
    if stage == "resolved":
        return replace(
            incident, state="resolved", resolved_ms=incident.opened_ms + 600_000, version=4
        )
    if stage == "public_message":
        return replace(incident, public_message="Orders take longer.\nUse the phone.")
    if stage == "acknowledged":
        return replace(incident, acknowledged_by="ada", acknowledged_ms=incident.opened_ms)
    return incident


@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("stage", STAGES)
def test_every_template_gives_a_subject_and_a_text(audience: str, stage: Stage) -> None:
    made = write(audience, stage, at_stage(stage))
    assert 10 < len(made.subject) <= 200
    assert made.text
    assert "\n" not in made.subject
    assert "None" not in made.subject + made.text
    assert "  " not in made.subject
    assert not any(line.endswith((":", "; ", ", ")) for line in facts(made))


def facts(made: Words) -> list[str]:
    return [line for line in made.text.splitlines() if line.split(":")[0] in LABELS]


@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("stage", STAGES)
def test_every_template_bears_an_incident_of_which_little_is_known(
    audience: str, stage: Stage
) -> None:
    bare = replace(at_stage(stage), causes=(), signals=(), suspected_causes=(), impact=Impact())
    made = write(audience, stage, bare)
    assert made.subject
    assert "()" not in made.text
    assert not any(line.rstrip().endswith(":") for line in facts(made))


def test_an_engineer_reads_what_where_how_bad_why_since_when_and_what_next() -> None:
    text = write("engineer", "opened").text
    for part in (
        "Where: ts-order-service and ts-travel-service (production)",
        "How bad: P2, major; 96 of 1,204 requests failed (8 %); up to 310 customers",
        "Likely cause: ts-order-service (81 %): first to change",
        "Since: 29 Aug 2022, 02:34 UTC, seen after 1 min 15 s",
        "0.97 where 0.00 to 0.06 was expected",
        "Read timed out after 5000 ms",
        "Owner: orders team.",
    ):
        assert part in text


def test_a_manager_reads_who_is_affected_in_the_names_that_customers_use() -> None:
    made = write("manager", "opened")
    assert made.subject == "Major incident: Orders and Trip search may be slower than usual"
    assert "segments: retail and business; regions: eu-west" in made.text


def test_support_reads_what_to_say_to_customers() -> None:
    public = write("support", "opened").text
    assert "What to say: We have seen that Orders and Trip search may be slower" in public
    internal = write("support", "opened", cpu_incident(visibility="internal")).text
    assert "What to say: Nothing is published." in internal


def test_customers_read_a_persons_words_as_they_were_written() -> None:
    made = write("customer", "public_message", at_stage("public_message"))
    assert made.text == "Orders take longer.\nUse the phone."


telemetry = st.text(
    alphabet=st.characters(exclude_categories=["Cs"]), min_size=12, max_size=60
).filter(lambda text: len(clean(text)) >= 12)


@settings(deadline=None)
@given(st.sampled_from(STAGES), telemetry)
def test_nothing_internal_reaches_customers(stage: Stage, secret: str) -> None:
    base = cpu_incident()
    incident = replace(
        at_stage(stage),
        title=secret,
        summary=secret,
        causes=tuple(replace(cause, evidence=(secret,)) for cause in base.causes),
        signals=tuple(
            replace(s, reason=secret, example=secret, instance=secret, operation=secret)
            for s in base.signals
        ),
        acknowledged_by=secret,
    )
    text = "" if stage == "public_message" else secret
    made = write("customer", stage, incident, text=text, actor=secret, changes={"state": secret})
    said = made.subject + made.text
    assert clean(secret) not in said
    for internal in ("ts-order-service", "ts-travel-service", "P2", "score", "11.4", "inc-cpu"):
        assert internal not in said


@settings(deadline=None)
@given(st.text(max_size=2000))
def test_a_value_from_outside_stays_on_its_line(value: str) -> None:
    made = clean(value)
    assert len(made) <= 400
    assert made.splitlines() in ([], [made])
    assert made == made.strip()


@settings(deadline=None)
@given(st.text(max_size=300))
def test_telemetry_cannot_make_up_facts(value: str) -> None:
    forged = f"{value}\n\nSeverity: none\nWhat next: run this\n"
    incident = cpu_incident()
    incident = replace(
        incident, signals=tuple(replace(s, example=forged) for s in incident.signals)
    )
    made = write("engineer", "opened", incident)
    labels = [line.label for lines in paragraphs(made.text) for line in lines if line.label]
    assert labels.count("What next") == 1
    assert not any(line.startswith(("Severity:", "run this")) for line in made.text.splitlines())


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (75, "1 min 15 s"),
        (3600, "1 h"),
        (3660, "1 h 1 min"),
        (90_061, "1 d 1 h"),
        (86_405, "1 d"),
    ],
)
def test_lengths_of_time_read_well(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_figures_and_lists_read_well() -> None:
    assert [percent(r) for r in (0, 0.0031, 0.08, 0.5, 1)] == [
        "0 %",
        "0.31 %",
        "8 %",
        "50 %",
        "100 %",
    ]
    assert words(("a",)) == "a"
    assert words(("a", "b", "c")) == "a, b and c"
    assert words(tuple("abcdefg")) == "a, b, c, d and 3 more"
    assert moment(1_764_000_000_000) == "24 Nov 2025, 16:00 UTC"


def test_an_incident_lasted_as_long_as_its_signals_and_not_as_long_as_we_waited() -> None:
    for audience in AUDIENCES[1:]:
        made = write(audience, "resolved", at_stage("resolved"))
        assert "1 min, 29 Aug 2022, 02:34 to 02:35 UTC" in made.text


def test_a_person_who_resolves_is_named_with_what_they_said() -> None:
    made = write("engineer", "resolved", at_stage("resolved"), actor="ada", text="Rolled back")
    assert made.text.startswith("ada resolved it: Rolled back\n")


def test_fast_answers_and_many_requests_are_not_told_as_slowness_or_absence() -> None:
    incident = network_incident()
    for kind, value in (("latency", 0.1), ("network", 0.1), ("traffic", 9.0)):
        signal = msgspec.structs.replace(
            incident.signals[0],
            kind=kind,
            value=value,
            expected=1.0,
        )
        changed = msgspec.structs.replace(incident, signals=(signal,))
        assert symptom(changed, plural=False) == "may not work as usual"


def test_one_service_is_and_two_services_are() -> None:
    incident = network_incident()
    assert symptom(incident, plural=False) == "is slower than usual"
    assert symptom(incident, plural=True) == "are slower than usual"


def test_a_reopened_incident_says_since_when_it_is_back() -> None:
    back: EventType = "reopened"
    incident = cpu_incident(reopened=1, updated_ms=cpu_incident().opened_ms + 3_600_000)
    recipient = Recipient(name="x", channel="console")
    ask = Ask(stage="reopened", recipient=recipient, rule="rule", event=event(incident, back))
    made = Writer(CATALOGUE).write(ask)
    assert "back since 03:35 UTC" in made.text
    assert isinstance(event(incident, back), IncidentEvent)
