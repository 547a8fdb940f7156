"""Two replays of the same history are paired incident by incident."""

from streams.difference import Difference, Told, compare
from tests.sinks.examples import MINUTE_MS, cpu_incident


def told(name: str = "INC-A", at_minute: int = 0, **changes: object) -> Told:
    incident = cpu_incident()
    shift_ms = at_minute * MINUTE_MS
    moved = {
        "id": name,
        "opened_ms": incident.opened_ms + shift_ms,
        "first_anomaly_ms": incident.first_anomaly_ms + shift_ms,
        "last_anomaly_ms": incident.last_anomaly_ms + shift_ms,
    }
    moved |= {key: changes.pop(key) for key in list(changes) if key not in ("worst", "told")}
    return Told(incident=cpu_incident(**moved), **{"worst": "P2", "told": ("ada",), **changes})  # type: ignore[arg-type]


def whats(differences: list[Difference]) -> list[tuple[str, str, str]]:
    return [(d.what, d.before, d.after) for d in differences]


def test_the_same_incidents_do_not_differ() -> None:
    both = [told(), told("INC-B", 60)]
    assert compare(both, both) == []


def test_one_of_another_id_at_the_same_time_on_the_same_service_is_the_same() -> None:
    later = told("INC-Z").incident.opened_ms + 10_000
    found = compare([told("INC-A")], [told("INC-Z", opened_ms=later, worst="P1", told=())])
    assert [(d.what, d.old_id, d.new_id) for d in found] == [
        ("severity", "INC-A", "INC-Z"),
        ("opened_ms", "INC-A", "INC-Z"),
        ("told", "INC-A", "INC-Z"),
    ]
    assert whats(found)[0] == ("severity", "P2", "P1")
    assert whats(found)[2] == ("told", "ada", "nobody")


def test_what_only_one_of_them_opened_is_said_with_its_severity_and_who_was_told() -> None:
    quiet, loud = [told()], [told(), told("INC-B", 60)]
    assert whats(compare(quiet, loud)) == [("opened_only_by_new", "not opened", "P2, told: ada")]
    assert whats(compare(loud, quiet)) == [("opened_only_by_old", "P2, told: ada", "not opened")]


def test_incidents_of_other_services_at_the_same_time_are_not_paired() -> None:
    found = compare([told()], [told("INC-B", services=("ts-mail-service",))])
    assert {d.what for d in found} == {"opened_only_by_old", "opened_only_by_new"}


def test_an_incident_that_became_part_of_another_is_not_told_as_missed() -> None:
    apart = [told("INC-A"), told("INC-B", 2)]
    assert whats(compare(apart, [told("INC-A")])) == [
        ("part_of_another", "of its own", "part of it")
    ]
    assert whats(compare([told("INC-A")], apart)) == [
        ("part_of_another", "part of it", "of its own")
    ]
