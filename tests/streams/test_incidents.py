"""The incident stage: one outage, one incident, one log without gaps."""

import msgspec
import pytest

from schemas.anomalies import Anomaly
from schemas.configuration import Catalogue, Incidents, Windows
from schemas.incidents import Command, CommandType, IncidentEvent, Severity
from streams.incidents import IncidentStage
from tests.streams.incident_helpers import (
    LATENESS,
    MINUTE,
    SECOND,
    SHARD,
    START,
    WINDOW,
    anomaly,
    as_bytes,
    batches,
    brief,
    stage,
    told,
)

DAY = 86_400


def command(
    kind: CommandType,
    incident: str,
    *,
    text: str = "",
    severity: Severity | None = None,
    number: int = 1,
) -> Command:
    return Command(
        id=f"c{number}",
        type=kind,
        incident_id=incident,
        actor="ada",
        issued_ms=START,
        text=text,
        severity=severity,
    )


def opened(events: list[IncidentEvent]) -> list[IncidentEvent]:
    return [event for event in events if event.type == "opened"]


def test_an_incident_goes_from_opened_to_closed_at_exact_ticks_however_far_apart_batches_are() -> (
    None
):
    events = told(anomaly(), until=2 * DAY)
    assert brief(events) == [
        "opened 15",
        "updated 165",
        "resolved 315",
        f"closed {315 + DAY}",
    ]
    assert [event.version for event in events] == [1, 2, 3, 4]
    assert events[1].changes["state"] == "identified → monitoring"
    assert events[0].incident.opened_ms == START + WINDOW + LATENESS
    assert events[2].incident.resolved_ms == events[2].time_ms


def test_the_id_is_the_same_in_every_replay_and_differs_by_environment() -> None:
    first, again = told(anomaly(), until=30), told(anomaly(), until=30)
    assert as_bytes(first) == as_bytes(again)
    name = first[0].incident_id
    assert name.startswith("INC-") and len(name) == 12 and not set(name[4:]) & set("ILOU")


def test_a_late_symptom_of_a_caller_joins_the_incident() -> None:
    events = told(anomaly("store"), anomaly("cart", "latency", 100), until=120)
    assert brief(events) == ["opened 15", "updated 115"]
    assert events[1].incident.services == ("store", "cart")
    assert events[1].incident.suspected_causes[0] == "store"


def test_two_outages_that_no_call_joins_stay_two() -> None:
    assert len(opened(told(anomaly("cart"), anomaly("smtp"), until=30))) == 2


def test_siblings_under_one_caller_are_joined_only_by_its_own_trouble() -> None:
    apart = told(anomaly("cart"), anomaly("search"), until=30)
    assert len(opened(apart)) == 2
    together = told(anomaly("cart"), anomaly("search"), anomaly("web", "latency"), until=30)
    assert len(opened(together)) == 1


def test_a_mass_event_on_unlinked_services_is_one_incident() -> None:
    anomalies = [anomaly(f"s{i}") for i in range(12)]
    events = stage().process(batches(anomalies, until=30, calls=()))
    assert len(opened(events)) == 1
    assert len(events[0].incident.services) == 12


def test_silence_of_many_services_is_called_an_outage_of_telemetry() -> None:
    anomalies = [anomaly(f"s{i}", "silence", score=30) for i in range(12)]
    events = stage().process(batches(anomalies, until=30, calls=()))
    assert events[0].incident.title.startswith("No telemetry from 12 services")
    assert "collectors" in events[0].incident.summary


def test_a_small_system_that_falls_silent_is_one_incident_and_late_silence_joins_it() -> None:
    first = [anomaly(name, "silence", score=6) for name in ("cart", "smtp", "alone")]
    events = told(*first, anomaly("mail", "silence", 60, score=6), until=80)
    assert len(opened(events)) == 1
    assert len(events[-1].incident.services) == 4
    two = told(anomaly("cart", "silence"), anomaly("smtp", "silence"), until=20)
    assert len(opened(two)) == 2


def test_a_weak_anomaly_alone_opens_nothing_and_is_counted() -> None:
    made = stage()
    assert told(anomaly(kind="level", score=7), until=600, made=made) == []
    assert made.left_out == {"weak and alone": 1}


def test_a_share_of_failures_without_a_count_needs_more_than_a_counted_one() -> None:
    counted = anomaly(kind="error_ratio", score=7, series='requests{service="cart"}')
    assert brief(told(counted, until=20)) == ["opened 15"]
    reported = 'success_ratio{service="cart"}'
    assert told(anomaly(kind="error_ratio", score=7, series=reported), until=600) == []
    sure = anomaly(kind="error_ratio", score=25, series=reported)
    assert brief(told(sure, until=20)) == ["opened 15"]


def test_a_vague_sign_opens_an_incident_once_it_has_lasted_five_minutes() -> None:
    lasting = [anomaly(kind="level", score=7, at=at, since=0) for at in range(0, 361, 60)]
    events = told(*lasting, until=370)
    assert brief(events)[0] == "opened 315"
    assert events[0].incident.first_anomaly_ms == START


def test_vague_signs_on_two_neighbours_bear_each_other_out() -> None:
    apart = told(anomaly("cart", "level", score=7), anomaly("smtp", "level", score=7), until=20)
    assert apart == []
    joined = told(anomaly("cart", "level", score=7), anomaly("store", "level", score=7), until=20)
    assert brief(joined) == ["opened 15"]


def test_what_only_corroborates_joins_but_opens_nothing_and_keeps_nothing_open() -> None:
    only = anomaly("store", "latency", opens=False)
    assert told(only, until=600) == []
    later = anomaly("store", "latency", 200, opens=False)
    events = told(anomaly("cart"), only, later, until=600)
    assert events[0].incident.services == ("cart",)
    assert "Also unusual: store." in events[0].incident.summary
    assert {signal.service for signal in events[0].incident.signals} == {"cart", "store"}
    assert brief(events)[-1] == "resolved 315"


def test_a_slow_caller_is_told_from_the_callees_that_it_reaches_late() -> None:
    edges = [anomaly(name, "network", caller="web") for name in ("cart", "search")]
    events = told(*edges, until=20)
    assert len(opened(events)) == 1
    assert events[0].incident.suspected_causes[0] == "web"


def test_the_same_trouble_soon_after_resolution_reopens_the_incident() -> None:
    events = told(anomaly(), anomaly(at=400), until=420)
    assert [event.type for event in events][-2:] == ["resolved", "reopened"]
    assert events[-1].incident.reopened == 1
    assert events[-1].incident.resolved_ms is None
    assert len({event.incident_id for event in events}) == 1


def test_an_incident_that_flaps_must_be_quiet_for_longer_each_time_and_says_so() -> None:
    events = told(*(anomaly(at=at) for at in (0, 10, 420, 430, 1_230, 1_240)), until=6_000)
    times = [line for line in brief(events) if line.split()[0] in ("resolved", "reopened")]
    assert times == [
        "resolved 325",
        "reopened 435",
        "resolved 1045",  # quiet for twice as long
        "reopened 1245",  # within twice the time
        "resolved 2455",  # and four times
    ]
    flapping = {e.time_ms: e.incident.flapping for e in events if e.type == "reopened"}
    assert list(flapping.values()) == [False, True]
    assert (
        "It flaps, and has come back 2 times" in [e for e in events if e.type == "reopened"][1].text
    )


def test_what_goes_on_unchanged_for_a_week_and_nobody_takes_is_over_and_stays_so() -> None:
    rules = Incidents(stale_after_seconds=600)
    goes_on = [anomaly(at=at, since=0) for at in range(0, 1_000, 10)]
    events = told(*goes_on, until=1_300, made=stage(rules=rules))
    ends = [line for line in brief(events) if not line.startswith(("updated", "severity"))]
    assert ends == ["opened 15", "resolved 615", "closed 1215"]
    resolved = next(event for event in events if event.type == "resolved")
    assert resolved.text.startswith("Stale: it goes on unchanged since ")
    assert resolved.incident.stale


def test_what_somebody_has_taken_is_never_stale() -> None:
    made = stage(rules=Incidents(stale_after_seconds=600))
    goes_on = [anomaly(at=at, since=0) for at in range(0, 1_000, 10)]
    (opened_, *_) = made.process(batches(goes_on[:2], until=20))
    made.command([command("acknowledge", opened_.incident_id)])
    events = made.process(batches(goes_on[2:], until=1_000))
    assert "resolved" not in [event.type for event in events]


def test_the_same_trouble_while_only_watched_goes_back_to_the_open_incident() -> None:
    events = told(anomaly(), anomaly(at=200), until=220)
    assert brief(events) == ["opened 15", "updated 165", "updated 215"]
    assert events[-1].changes["state"] == "monitoring → identified"


def test_a_further_sign_of_the_cause_while_it_is_only_watched_is_no_new_incident() -> None:
    events = told(anomaly(), anomaly(kind="latency", at=200), until=220)
    assert brief(events) == ["opened 15", "updated 165", "updated 215"]
    assert events[-1].changes["state"] == "monitoring → identified"


def test_other_trouble_of_the_same_service_after_resolution_is_a_new_incident() -> None:
    events = told(anomaly("cart"), anomaly("cart", "latency", 400), until=420)
    assert len(opened(events)) == 2


def test_a_symptom_that_recurs_without_the_cause_s_own_sign_does_not_reopen() -> None:
    first = [anomaly("store", score=60), anomaly("store", "latency"), anomaly("cart", "latency")]
    again = [anomaly("store", "latency", 400), anomaly("cart", "latency", 400)]
    assert len(opened(told(*first, *again, until=420))) == 2


def test_a_new_error_after_another_error_is_a_new_incident() -> None:
    one = anomaly("cart", "new_error_template", series='error_log{template="a"}')
    other = anomaly("cart", "new_error_template", 400, series='error_log{template="b"}')
    assert len(opened(told(one, other, until=420))) == 2


def test_a_neighbour_that_fails_long_into_a_lasting_incident_is_a_new_incident() -> None:
    lasting = [anomaly("cart", at=at, since=0) for at in range(0, 1_200, 60)]
    events = told(*lasting, anomaly("store", at=1_000), until=1_200)
    assert [e.incident.suspected_causes[0] for e in opened(events)] == ["cart", "store"]


def test_a_signal_that_comes_back_in_an_open_incident_is_told_as_a_further_one() -> None:
    lasting = [anomaly("cart", at=at, since=0) for at in range(0, 600, 60)]
    slow = [anomaly("cart", "latency", at) for at in (0, 500)]
    events = told(*lasting, *slow, until=520)
    assert events[-1].changes["signals"].endswith("also cart latency again")
    spans = [s.first_ms for s in events[-1].incident.signals if s.kind == "latency"]
    assert spans == [START, START + 500 * SECOND]


def test_a_faint_sign_that_began_after_the_trouble_was_over_is_no_news_of_it() -> None:
    meanwhile = anomaly("cart", "latency", 60, opens=False)
    assert brief(told(anomaly("cart"), meanwhile, until=130)) == ["opened 15", "updated 75"]
    after = anomaly("cart", "latency", 120, opens=False)
    assert brief(told(anomaly("cart"), after, until=130)) == ["opened 15"]


def test_a_gateway_that_the_graph_does_not_know_fails_with_what_is_behind_it() -> None:
    behind = anomaly("store", at=0)
    in_front = anomaly("gateway", "error_ratio", 60)
    assert len(opened(told(behind, in_front, until=90))) == 1
    assert len(opened(told(in_front, anomaly("store", at=80), until=110))) == 1
    assert len(opened(told(behind, anomaly("gateway", "error_ratio", 100), until=120))) == 2
    assert len(opened(told(behind, anomaly("batch", "saturation", 60), until=90))) == 2


def test_series_that_report_rarely_are_given_three_reports_before_resolution() -> None:
    rare = [anomaly(at=at, since=0) for at in (0, 300, 600)]
    events = told(*rare, until=3_000)
    assert brief(events)[-1] == f"resolved {600 + 10 + 900 + 5}"


def mixed(*, minute_until: int, until: int, every_ms: int = 300_000) -> list[Anomaly]:
    """A series that reports each minute, and one of its service that does every five."""
    often = [
        msgspec.structs.replace(anomaly("cart", "latency", at, since=0), every_ms=60_000)
        for at in range(0, minute_until, 60)
    ]
    rarely = [
        msgspec.structs.replace(anomaly("cart", at=at, since=0), every_ms=every_ms)
        for at in range(0, until, 300)
    ]
    return [*often, *rarely]


@pytest.mark.parametrize("minute_until", [60, 300, 900, 1_800])
def test_of_series_that_report_at_different_paces_each_is_given_its_own_reports(
    minute_until: int,
) -> None:
    """While the rarer one goes on, its pauses are no quiet, whatever the other one does."""
    events = told(*mixed(minute_until=minute_until, until=1_801), until=6_000)
    assert len(opened(events)) == 1
    states = [event.incident.state for event in events]
    changed = [one for one, other in zip(states, [None, *states], strict=False) if one != other]
    assert changed == ["identified", "monitoring", "resolved"]
    assert brief(events)[-2:] == [
        f"updated {1_810 + 2 * 300 + 5}",
        f"resolved {1_810 + 3 * 300 + 5}",
    ]


def test_what_reports_by_the_hour_keeps_an_incident_open_for_half_an_hour_at_most() -> None:
    hourly = mixed(minute_until=60, until=1, every_ms=3_600_000)
    assert brief(told(*hourly, until=6_000))[-1] == f"resolved {10 + 1_800 + 5}"


def test_the_run_that_opens_an_incident_tells_how_rarely_its_series_reports() -> None:
    first = anomaly("cart", "level", 300, since=0, score=30)
    next_door = anomaly("store", "level", 600, since=300, score=30)
    assert len(opened(told(first, next_door, until=650))) == 1


@pytest.mark.parametrize(("at", "incidents"), [(900, 1), (910, 2), (3 * 3600, 2)])
def test_the_same_trouble_reopens_within_ten_minutes_of_resolution_only(
    at: int, incidents: int
) -> None:
    events = told(anomaly(), anomaly(at=at), until=at + 20)
    assert len(opened(events)) == incidents


def test_a_neighbours_fault_after_an_incident_went_quiet_is_a_new_incident() -> None:
    events = told(anomaly("cart"), anomaly("store", at=240), until=260)
    assert [e.incident.suspected_causes[0] for e in opened(events)] == ["cart", "store"]


def test_commands_write_into_the_same_log_and_a_repeat_changes_nothing() -> None:
    made = stage()
    name = told(anomaly(), until=30, made=made)[0].incident_id
    asked = [
        command("acknowledge", name, number=1),
        command("note", name, text="looking", number=2),
        command("set_severity", name, severity="P1", number=3),
        command("public_message", name, text="We are on it.", number=4),
        command("resolve", name, text="restarted", number=5),
    ]
    events = made.command(asked)
    assert [event.type for event in events] == [
        "acknowledged",
        "noted",
        "severity_changed",
        "public_message",
        "resolved",
    ]
    assert [event.version for event in events] == [2, 3, 4, 5, 6]
    assert {event.time_ms for event in events} == {START + 30 * SECOND + LATENESS}
    assert events[-1].incident.acknowledged_by == "ada"
    assert events[-1].incident.visibility == "public"
    assert made.command(asked) == []


def test_what_people_say_for_customers_stands_in_the_record() -> None:
    made = stage()
    name = told(anomaly(), until=30, made=made)[0].incident_id
    expected_ms = START + 3_600 * SECOND
    asked = [
        command("workaround", name, text="Use the phone.", number=1),
        command("expect", name, number=2),
        msgspec.structs.replace(command("expect", name, number=3), expected_ms=expected_ms),
        msgspec.structs.replace(
            command("conclude", name, text="A disk was full.", number=4), solution="It is bigger."
        ),
    ]
    events = made.command(asked)
    assert [event.type for event in events] == ["workaround", "noted", "updated", "follow_up"]
    last = events[-1].incident
    assert (last.workaround, last.reason, last.solution) == (
        "Use the phone.",
        "A disk was full.",
        "It is bigger.",
    )
    assert last.expected_resolution_ms == expected_ms
    assert events[-1].changes["solution"] == "none → It is bigger."
    assert [refusal.reason for _, refusal in made.refused] == ["no_time"]


def test_a_reopened_incident_needs_somebody_anew() -> None:
    made = stage()
    name = told(anomaly(), until=30, made=made)[0].incident_id
    made.command([command("acknowledge", name, number=1)])
    back = made.process(batches([anomaly(at=400)], until=420)[1:])[-1]
    assert back.type == "reopened"
    assert back.incident.acknowledged_by is None
    assert back.changes["acknowledged by"] == "ada → nobody"
    (taken,) = made.command([command("acknowledge", name, number=2)])
    assert taken.incident.acknowledged_by == "ada"


def test_a_second_person_hears_who_has_it_and_what_is_over_cannot_be_acknowledged() -> None:
    made = stage()
    name = told(anomaly(), until=30, made=made)[0].incident_id
    _, second = made.command(
        [
            command("acknowledge", name, number=1),
            msgspec.structs.replace(command("acknowledge", name, number=2), actor="bea"),
        ]
    )
    assert second.text == "bea is on it too; ada has it already."
    assert second.incident.acknowledged_by == "ada"
    made.command([command("resolve", name, number=3)])
    (late,) = made.command([command("acknowledge", name, number=4)])
    assert late.type == "noted"
    assert late.text.startswith("Did not do what ada asked (acknowledge): ")


def test_an_overriding_severity_stays_when_the_grade_moves() -> None:
    made = stage()
    name = told(anomaly(), until=30, made=made)[0].incident_id
    made.command([command("set_severity", name, severity="P4")])
    events = made.process(
        batches([anomaly(s, "latency", at=60, score=40) for s in ("web", "store")], until=90)
    )
    assert events
    assert {event.incident.severity for event in events} == {"P4"}
    assert events[-1].incident.severity_override_by == "ada"
    assert events[-1].incident.grading.steps[-1].source == "set by ada"
    assert events[-1].incident.grading.severity != "P4"


def test_commands_that_make_no_sense_are_refused_and_the_log_says_so() -> None:
    made = stage()
    name = told(anomaly(), until=30, made=made)[0].incident_id
    asked = [
        command("acknowledge", "INC-00000000", number=1),
        command("note", name, number=2),
        command("set_severity", name, number=3),
    ]
    events = made.command(asked)
    assert [(refused.id, why.reason) for refused, why in made.refused] == [
        ("c1", "unknown_incident"),
        ("c2", "no_text"),
        ("c3", "no_severity"),
    ]
    assert [(e.type, e.actor, e.command_id) for e in events] == [
        ("noted", "tocsin", "c2"),
        ("noted", "tocsin", "c3"),
    ]
    assert events[0].text == "Did not do what ada asked (note): note needs a `text`."
    assert made.command(asked[1:]) == []


def test_trouble_that_goes_on_after_being_resolved_by_hand_does_not_wake_anyone_again() -> None:
    made = stage()
    name = told(anomaly(), until=30, made=made)[0].incident_id
    made.command([command("resolve", name, text="known")])
    assert made.process(batches([anomaly(at=30, since=0)], until=60)) == []
    assert made.left_out == {"goes on after being called resolved": 1}


def test_command_ids_are_remembered_only_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.answers.MAX_COMMANDS", 2)
    made = stage()
    name = told(anomaly(), until=30, made=made)[0].incident_id
    notes = [command("note", name, text="x", number=i) for i in range(3)]
    assert len(made.command(notes)) == 3
    assert made.command(notes[1:]) == []
    assert len(made.command(notes[:1])) == 1


def test_too_many_incidents_close_the_longest_resolved_ones_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.ledger.MAX_DOSSIERS", 1)
    events = told(anomaly("cart"), anomaly("smtp", at=400), until=420)
    assert [e.type for e in events][-2:] == ["opened", "closed"]
    assert events[-1].incident_id == events[0].incident_id


def test_events_of_a_repeated_batch_are_not_said_again() -> None:
    made = stage()
    given = batches([anomaly()], until=30)
    assert made.process(given)
    assert made.process(given) == []


def test_nothing_is_said_before_every_shard_was_heard() -> None:
    made = IncidentStage("test", [SHARD, "shard/1"], Windows(), Incidents(), Catalogue())
    assert made.process(batches([anomaly()], until=30)) == []


def test_time_never_goes_backwards_in_the_log() -> None:
    events = told(*[anomaly(at=at) for at in range(0, 600, 60)], until=MINUTE)
    assert [e.time_ms for e in events] == sorted(e.time_ms for e in events)


def test_services_beside_one_another_that_do_the_same_at_once_are_one_incident() -> None:
    one = anomaly("cart", "new_error_template")
    assert len(opened(told(one, anomaly("search", "new_error_template", 80), until=100))) == 1
    assert len(opened(told(one, anomaly("search", "new_error_template", 100), until=120))) == 2
    counted = anomaly("search", "error_ratio", 80, series='requests{service="search"}')
    assert len(opened(told(one, counted, until=100))) == 2
    assert len(opened(told(one, anomaly("smtp", "new_error_template", 80), until=100))) == 2
