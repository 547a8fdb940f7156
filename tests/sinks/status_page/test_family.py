"""Splits and merges on the page: one incident to the public, over when all of it is."""

from pathlib import Path

import msgspec

from schemas.incidents import Incident, IncidentEvent
from sinks.status_page.components import components_of
from sinks.status_page.family import gathered
from sinks.status_page.incident import PublicIncident, publish
from tests.sinks.examples import event
from tests.sinks.status_page.examples import (
    MINUTE_MS,
    NOW_MS,
    configuration,
    incident,
    running,
    then,
)

PAGE = components_of(configuration(Path("unused")))
WHOLE = incident(1, services=("checkout", "payment", "search"))


def part(*services: str) -> Incident:
    return incident(
        2, services=services, opened_ms=NOW_MS, updated_ms=NOW_MS, split_from="INC-0001"
    )


def shown(*events: IncidentEvent) -> tuple[PublicIncident, ...]:
    known: dict[str, PublicIncident] = {}
    for each in events:
        known[each.incident_id] = publish(known.get(each.incident_id), each, PAGE)
    return gathered(list(known.values()), PAGE)


def over(of: IncidentEvent, after_ms: int, **changes: object) -> IncidentEvent:
    end_ms = of.time_ms + after_ms
    fields = {"state": "resolved", "public_phase": "resolved", "resolved_ms": end_ms}
    fields["last_anomaly_ms"] = end_ms
    return then(of, "resolved", after_ms, **(fields | changes))


def test_what_shares_a_component_with_what_it_was_taken_out_of_is_not_shown_twice() -> None:
    whole, split = event(WHOLE, "opened"), event(part("payment"), "opened")
    (one,) = shown(whole, then(whole, "updated", 19 * MINUTE_MS), split)
    assert (one.id, one.also) == ("INC-0001", ("INC-0002",))
    assert len(one.updates) == 1
    assert one.name == "Errors on Search and catalogue and Checkout"


def test_a_part_with_a_component_of_its_own_says_so_and_is_over_by_itself() -> None:
    whole = event(WHOLE, "opened")
    rest = then(whole, "updated", 18 * MINUTE_MS, services=("search",), signals=())
    split = event(part("checkout"), "opened")
    (one,) = shown(whole, rest, split)
    assert [update.of for update in one.updates][-1] == "INC-0002"
    assert "Checkout" in one.updates[-1].body
    (one,) = shown(whole, rest, split, over(split, 5 * MINUTE_MS))
    assert one.resolved_ms is None
    assert one.updates[-1].phase == "resolved"
    assert one.name.endswith("Search and catalogue")


def test_it_is_over_when_the_last_part_is_and_not_called_so_before() -> None:
    whole, split = event(WHOLE, "opened"), event(part("payment"), "opened")
    first = over(whole, 22 * MINUTE_MS)
    (one,) = shown(whole, split, first)
    assert (one.phase, one.resolved_ms) == ("investigating", None)
    assert "over" not in " ".join(update.body for update in one.updates)
    assert set(one.statuses) == {PAGE[2].id}
    last = over(split, 9 * MINUTE_MS)
    (one,) = shown(whole, split, first, last)
    assert (one.phase, one.resolved_ms) == ("resolved", last.time_ms)
    assert [update.phase for update in one.updates] == ["investigating", "resolved"]
    assert one.next_ms is None


def test_what_is_merged_goes_on_under_the_oldest_of_both() -> None:
    whole = event(WHOLE, "opened")
    other = event(incident(2, services=("tracking",), started_ms=NOW_MS), "opened")
    merged = over(whole, 30 * MINUTE_MS, merged_into="INC-0002")
    grown = then(other, "updated", 12 * MINUTE_MS, services=("tracking", *WHOLE.services))
    (one,) = shown(whole, other, merged, grown)
    assert (one.id, one.resolved_ms) == ("INC-0001", None)
    assert not any(update.phase == "resolved" for update in one.updates)


def test_unrelated_incidents_stay_two() -> None:
    other = event(incident(2, services=("payment",)), "opened")
    assert len(shown(event(WHOLE, "opened"), other)) == 2


async def test_links_to_each_lead_to_the_one_and_updates_have_ids_of_their_own(
    tmp_path: Path,
) -> None:
    async with running(configuration(tmp_path / "page.sqlite3")) as page:
        split = event(part("tracking"), "opened")
        page.clock.now_ms = NOW_MS + MINUTE_MS
        await page.say([event(WHOLE, "opened"), split])
        assert await page.text("/incidents/INC-0002") == await page.text("/incidents/INC-0001")
        document = msgspec.json.decode(await page.text("/api/v2/incidents.json"))
        (one,) = document["incidents"]
        ids = [update["id"] for update in one["incident_updates"]]
        assert len(ids) == len(set(ids)) == 2
