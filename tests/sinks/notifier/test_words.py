"""Words: every template works, says what its reader needs, and customers see nothing internal."""

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.commands.templates import RECORDED
from schemas.anomalies import AnomalyKind
from schemas.configuration import Catalogue, Recipient
from schemas.incidents import Incident, Signal
from schemas.outlook import Guess, Outlook
from sinks.disclosure import leaks
from sinks.notifier.channels.channel import paragraphs
from sinks.notifier.clean import clean
from sinks.notifier.language import FOLDER, labels, languages, phrases_in
from sinks.notifier.language import language as language_in
from sinks.notifier.messages import Ask, Digest, HandOver, Held, Kind, Stage
from sinks.notifier.preview import event_at
from sinks.notifier.routing import STAGES
from sinks.notifier.telling import sentence
from sinks.notifier.words import PHASES, Words, Writer
from tests.sinks.examples import cpu_incident, event
from tests.sinks.notifier.conftest import CATALOGUE

AUDIENCES = ("engineer", "manager", "support", "customer")
LANGUAGES = languages()
NEXT_MS = cpu_incident().opened_ms + 1_800_000
replace = msgspec.structs.replace
recorded = [msgspec.json.decode(line, type=Incident) for line in RECORDED.read_bytes().splitlines()]


def reader(audience: str, language: str = "en", **changes: object) -> Recipient:
    made = Recipient(name="x", channel="console", language=language)
    return replace(made, audience=audience, **changes)


def write(
    audience: str,
    stage: Stage,
    incident: Incident | None = None,
    *,
    language: str = "en",
    kind: Kind = "news",
    to: Recipient | None = None,
    drill: bool = False,
    catalogue: Catalogue = CATALOGUE,
    folder: Path | None = None,
    **changes: object,
) -> Words:
    made = replace(event_at(incident or cpu_incident(), stage, language), **changes)
    ask = Ask(
        stage=stage,
        kind=kind,
        recipient=to or reader(audience, language),
        rule="rule",
        event=made,
        first=True,
        next_update_ms=NEXT_MS,
        drill=drill,
    )
    return Writer(catalogue, folder).write(ask)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("stage", STAGES)
def test_every_message_has_a_subject_and_a_text(audience: str, stage: Stage, language: str) -> None:
    made = write(audience, stage, language=language)
    assert 10 < len(made.subject) <= 200
    assert made.text
    assert "None" not in made.subject + made.text
    assert "  " not in made.subject + made.text
    assert not any(line.endswith((":", "; ", ", ")) for line in facts(made))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("stage", STAGES)
def test_every_message_bears_an_incident_of_which_little_is_known(
    audience: str, stage: Stage, language: str
) -> None:
    bare = replace(cpu_incident(), causes=(), signals=(), suspected_causes=(), services=("x",))
    made = write(audience, stage, replace(bare, impact=type(bare.impact)()), language=language)
    assert made.subject
    assert "()" not in made.text
    assert not any(line.rstrip().endswith(":") for line in facts(made))


def facts(made: Words) -> list[str]:
    return [line for line in made.text.splitlines() if line.split(":")[0].strip() in labels()]


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_languages_have_the_same_templates_and_phrases(language: str) -> None:
    folder = Path(__file__).parents[3] / "sinks/notifier/templates"

    def names(code: str) -> set[str]:
        return {f.relative_to(folder / code).as_posix() for f in (folder / code).rglob("*.*")}

    assert names(language) == names("en")


def test_an_engineer_reads_what_where_how_bad_why_since_when_and_what_next() -> None:
    text = write("engineer", "opened").text
    for part in (
        "Where: ts-order-service and ts-travel-service (production)",
        "Impact: 96 of 1,204 requests failed (8 %); up to 310 customers",
        "Likely cause: ts-order-service (81 %): first to change",
        "Since: 29 August 2022, 02:34 UTC, seen after 1 minute 15 seconds",
        "- ts-order-service: CPU usage is at its limit with 97 %, expected at most 6 %",
        "Owner: orders team.",
    ):
        assert part in text


def test_an_engineer_reads_the_same_facts_in_their_own_language_and_zone() -> None:
    made = write("engineer", "opened", to=reader("engineer", "de", time_zone="Europe/Berlin"))
    assert "CPU-Auslastung ist mit 97 % an der Grenze, erwartet höchstens 6 %" in made.subject
    assert "Seit: 29. August 2022, 04:34 MESZ, bemerkt nach 1 Minute 15 Sekunden" in made.text
    assert "96 von 1.204 Anfragen sind gescheitert (8 %)" in made.text


def test_a_manager_reads_who_is_affected_in_the_names_that_customers_use() -> None:
    made = write("manager", "opened")
    assert made.subject == "Major incident: Orders and Trip search"
    assert "users of Orders and Trip search (" in made.text
    assert "retail customers and business customers; region: eu-west" in made.text


def test_support_reads_what_to_say_to_customers() -> None:
    assert "What to say: We have noticed the problem with Orders" in write("support", "opened").text
    internal = replace(event_at(cpu_incident(), "opened", "en"))
    hidden = replace(internal, incident=replace(internal.incident, visibility="internal"))
    ask = Ask(stage="opened", recipient=reader("support"), rule="r", event=hidden)
    assert "What to say: Nothing is published." in Writer(CATALOGUE).write(ask).text


def test_a_customer_reads_impact_expected_end_workaround_and_the_next_update() -> None:
    incident = cpu_incident()
    told = replace(
        incident,
        workaround="Use the phone.",
        expected_resolution_ms=incident.opened_ms + 7_200_000,
    )
    text = write("customer", "updated", told, to=reader("customer", segment="retail")).text
    for part in (
        "Who is affected: retail customers",
        "Pages and actions may take longer than usual.",
        "What you can do: Use the phone.",
        "Expected resolution: by 04:35 UTC",
        "Next update: by 03:05 UTC",
    ):
        assert part in text


def test_what_closed_incidents_teach_is_said_where_no_person_has_said_an_end() -> None:
    outlook = Outlook(
        examples=40,
        category=Guess("capacity", 0.9),
        complexity=Guess("simple", 0.8),
        lasts_ms=600_000,
        lasts_to_ms=1_500_000,
    )
    text = write("customer", "opened", replace(cpu_incident(), outlook=outlook)).text
    assert "most problems like this one are over within 25 minutes" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_follow_up_and_final_state_nature_reason_and_solution(language: str) -> None:
    incident = replace(cpu_incident(), reason="A disk was full.", solution="It is bigger now.")
    for stage in ("follow_up", "final"):
        for audience in AUDIENCES:
            text = write(audience, stage, incident, language=language).text
            assert "A disk was full." in text
            assert "It is bigger now." in text


def test_customers_read_a_persons_words_as_they_were_written() -> None:
    incident = replace(cpu_incident(), public_message="Orders take longer.\nUse the phone.")
    made = write("customer", "public_message", incident)
    assert made.text.startswith("Orders take longer.\nUse the phone.\n\n")


def test_a_persons_words_reach_customers_without_the_names_of_systems() -> None:
    incident = replace(
        cpu_incident(),
        public_message="ts-order-service on 10.2.0.7 and db1.prod.internal is being restarted.",
    )
    made = write("customer", "public_message", incident)
    assert "Orders on one of our systems and one of our systems is being restarted." in made.text


@pytest.mark.parametrize(
    ("language", "begins", "withs", "quotes"),
    [
        ("en", "Our service works as usual again.", "a problem with our service and", "“"),
        ("de", "unser Dienst arbeitet wieder wie gewohnt.", "Störung bei unserem Dienst ", "„"),
        ("fr", "Notre service fonctionne de nouveau", "problème concernant notre service et", "«"),
    ],
)
def test_a_service_without_a_public_name_is_told_in_whole_sentences(
    language: str, begins: str, withs: str, quotes: str
) -> None:
    def said(stage: Stage) -> Words:
        return write("customer", stage, language=language, catalogue=Catalogue())

    assert begins in said("resolved").text
    assert withs in said("opened").text
    for stage in STAGES:
        assert quotes not in said(stage).text
        assert not re.search(r"\b(bei|zu) unser Dienst", said(stage).text)


telemetry = st.text(
    alphabet=st.characters(exclude_categories=["Cs"]), min_size=12, max_size=60
).filter(lambda text: len(clean(text)) >= 12)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(STAGES), st.sampled_from(LANGUAGES), telemetry)
def test_nothing_internal_reaches_customers(stage: Stage, language: str, secret: str) -> None:
    base = cpu_incident()
    incident = replace(
        base,
        title=secret,
        summary=secret,
        causes=tuple(replace(cause, evidence=(secret,)) for cause in base.causes),
        signals=tuple(
            replace(s, reason=secret, example=secret, instance=secret, operation=secret)
            for s in base.signals
        ),
        acknowledged_by=secret,
    )
    made = write(
        "customer", stage, incident, language=language, actor=secret, changes={"state": secret}
    )
    said = made.subject + made.text
    assert clean(secret) not in said
    for internal in ("ts-order-service", "ts-travel-service", "P2", "score", "11.4", "inc-cpu"):
        assert internal not in said


SHOP = msgspec.structs.replace(
    CATALOGUE,
    services=tuple(
        replace(CATALOGUE.services[0], name=name, public_name=public, segments=segments)
        for name, public, segments in (
            ("frontend", "Web shop", ("retail", "business")),
            ("cartservice", "Shopping cart", ("retail",)),
            ("checkoutservice", "Checkout", ("retail", "business")),
            ("shippingservice", "Shipping", ("business",)),
            ("productcatalogservice", None, ()),
            ("emailservice", None, ()),
            ("paymentservice", "Payments", ()),
        )
    ),
)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(recorded),
    st.sampled_from(STAGES),
    st.sampled_from(LANGUAGES),
    st.sampled_from((None, "retail", "business")),
)
def test_no_recorded_incident_tells_customers_anything_internal_or_of_other_segments(
    incident: Incident, stage: Stage, language: str, segment: str | None
) -> None:
    to = reader("customer", language, segment=segment)
    made = write("customer", stage, incident, language=language, to=to, catalogue=SHOP)
    said = f"{made.subject}\n{made.text}"
    assert leaks(said, incident, SHOP) == ()
    if segment is not None:
        other = {"retail": ("business", "Shipping"), "business": ("retail", "Shopping cart")}
        assert not any(name in said for name in other[segment])


def test_the_kind_of_trouble_of_another_segment_is_not_told() -> None:
    incident = recorded[0]
    slow = Signal("shippingservice", "duration_seconds", "latency", 0, 1, 9.0, 2.0, 0.1)
    failing = replace(slow, service="cartservice", kind="error_ratio")
    both = replace(
        incident, services=("shippingservice", "cartservice"), signals=(slow, failing), causes=()
    )
    to = reader("customer", segment="business")
    text = write("customer", "opened", both, to=to, catalogue=SHOP).text
    assert "Pages and actions take longer than usual." in text
    assert "error" not in text


@settings(deadline=None)
@given(st.text(max_size=2000))
def test_a_value_from_outside_stays_on_its_line(value: str) -> None:
    made = clean(value)
    assert len(made) <= 400
    assert made.splitlines() in ([], [made])
    assert made == made.strip()


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=300), st.sampled_from(LANGUAGES))
def test_telemetry_cannot_make_up_facts(value: str, language: str) -> None:
    forged = f"{value}\n\nSeverity: none\nWhat next: run this\n"
    incident = cpu_incident()
    incident = replace(
        incident,
        signals=tuple(
            replace(s, example=forged, reason=forged, kind="new_error_template")
            for s in incident.signals
        ),
    )
    made = write("engineer", "opened", incident, language=language)
    found = [line.label for lines in paragraphs(made.text) for line in lines if line.label]
    assert len(found) == len(set(found))
    assert not any(
        line.startswith(("Severity: none", "What next: run")) for line in made.text.splitlines()
    )


def test_a_drill_says_so_in_its_subject_and_in_its_first_line() -> None:
    for language, mark in (("en", "[DRILL]"), ("de", "[ÜBUNG]"), ("fr", "[EXERCICE]")):
        made = write("customer", "opened", language=language, drill=True)
        assert made.subject.startswith(mark)
        assert made.text.startswith(mark)


@pytest.mark.parametrize("kind", ["reminder", "update_due", "review"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_asks_somebody_for_something_has_words_of_its_own(kind: Kind, language: str) -> None:
    asking = write("engineer", "updated", kind=kind, language=language)
    assert asking.subject != write("engineer", "updated", language=language).subject


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("stage", ["opened", "updated", "workaround", "resolved"])
def test_support_says_nothing_aloud_by_a_name_that_customers_do_not_know(
    stage: Stage, language: str
) -> None:
    bare = replace(CATALOGUE, services=())
    incident = cpu_incident(visibility="public", workaround="Order by telephone.")
    made = write("support", stage, incident, language=language, catalogue=bare)
    label = phrases_in(FOLDER / language / "phrases.toml")("labels", "say")
    (aloud,) = [line for line in made.text.splitlines() if line.startswith(label)]
    assert not [name for name in incident.services if name in aloud]
    assert incident.services[0] in made.subject  # who works here knows it by that name


@pytest.mark.parametrize("language", LANGUAGES)
def test_digests_and_hand_overs_are_written(language: str) -> None:
    held = Held(
        message_id="m",
        incident_id="INC-1",
        stage="opened",
        severity="P3",
        subject="cart is slow",
        asked_ms=NEXT_MS,
        reason="limit",
    )
    digest = Digest(
        recipient=reader("engineer", language),
        rule="limit",
        items=(held,),
        count=1200,
        incidents=7,
        more=6,
        first_ms=NEXT_MS - 60_000,
        last_ms=NEXT_MS,
    )
    made = Writer(CATALOGUE).digest(digest)
    assert "1" in made.subject
    assert "200" in made.subject
    assert "INC-1" in made.text
    assert "6" in made.text.splitlines()[-1]
    for comes_on in (True, False):
        change = HandOver(
            recipient=reader("engineer", language),
            schedule="shop",
            comes_on=comes_on,
            other="Kim",
            time_ms=NEXT_MS,
            until_ms=NEXT_MS + 3_600_000,
            open_incidents=("[P2] INC-1: cart is slow",),
        )
        said = Writer(CATALOGUE).hand_over(change)
        assert "shop" in said.subject
        assert "Kim" in said.text
        assert "INC-1" in said.text


def test_a_template_of_ones_own_comes_first_and_the_rest_stays(tmp_path: Path) -> None:
    (tmp_path / "en/customer").mkdir(parents=True)
    (tmp_path / "en/customer/update.j2").write_text("Ours: {{ names | words }}\nWe are at it.")
    assert write("customer", "updated", folder=tmp_path).text == "We are at it."
    assert "Hello" in write("customer", "resolved", folder=tmp_path).text


def test_a_template_for_one_type_alone_leaves_the_others(tmp_path: Path) -> None:
    (tmp_path / "de/support").mkdir(parents=True)
    (tmp_path / "de/support/update.no_change.j2").write_text("Nichts\nNichts Neues.")
    own = write("support", "no_change", language="de", folder=tmp_path)
    assert own.text == "Nichts Neues."
    assert write("support", "updated", language="de", folder=tmp_path).subject != own.subject


def test_a_language_without_templates_is_read_in_english_throughout() -> None:
    assert write("customer", "opened", language="pt_BR") == write("customer", "opened")


def test_every_type_of_message_is_a_stage_of_communication() -> None:
    assert set(PHASES) == set(STAGES)
    assert set(PHASES.values()) == {
        "acknowledgement",
        "update",
        "workaround",
        "resolved",
        "follow-up",
        "final",
    }


def test_an_incident_lasted_as_long_as_its_signals_and_not_as_long_as_we_waited() -> None:
    for audience in AUDIENCES:
        made = write(audience, "resolved")
        assert "1 minute, 29 August 2022, 02:34 to 02:35 UTC" in made.text


def test_a_person_who_resolves_is_named_with_what_they_said() -> None:
    made = write("engineer", "resolved", actor="ada", text="Rolled back")
    assert made.text.startswith("ada resolved it: Rolled back\n")


def test_a_reopened_incident_says_since_when_it_is_back() -> None:
    incident = cpu_incident(reopened=1, updated_ms=cpu_incident().opened_ms + 3_600_000)
    ask = Ask(
        stage="reopened",
        recipient=reader("engineer"),
        rule="rule",
        event=event(incident, "reopened"),
    )
    assert "back since 03:35 UTC" in Writer(CATALOGUE).write(ask).text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", get_args(AnomalyKind))
def test_every_kind_of_signal_is_told_in_words_of_its_own(kind: AnomalyKind, language: str) -> None:
    signal = replace(
        cpu_incident().signals[0], kind=kind, reason="reads the stock", caller=None, operation=None
    )
    told = sentence(signal, language_in(language, "UTC"))
    assert told != kind.replace("_", " ")
    assert "{" not in told


def test_a_report_is_told_with_what_was_said() -> None:
    signal = replace(cpu_incident().signals[0], kind="report", example="the cart stays empty")
    assert sentence(signal, language_in("en", "UTC")) == "somebody reports: “the cart stays empty”"


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_was_split_says_from_what_and_not_that_it_was_seen_late(language: str) -> None:
    split = replace(cpu_incident(), split_from="INC-7M2K9QXD")
    text = write("engineer", "opened", split, language=language).text
    assert "INC-7M2K9QXD" in text
    assert not any(late in text for late in ("seen after", "bemerkt nach", "vu après"))
