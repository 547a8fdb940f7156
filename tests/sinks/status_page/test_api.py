"""The JSON against the field names that Statuspage documents for its v2 API."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.sinks.status_page.examples import (
    MINUTE_MS,
    NOW_MS,
    Running,
    configuration,
    incident,
    life,
    quarter,
    running,
)

PAGE = {"id", "name", "url", "time_zone", "updated_at"}
COMPONENT = {
    "id",
    "name",
    "status",
    "created_at",
    "updated_at",
    "position",
    "description",
    "showcase",
    "start_date",
    "group_id",
    "page_id",
    "group",
    "only_show_if_degraded",
}
INCIDENT = {
    "id",
    "name",
    "status",
    "created_at",
    "updated_at",
    "monitoring_at",
    "resolved_at",
    "impact",
    "shortlink",
    "started_at",
    "page_id",
    "incident_updates",
    "components",
}
UPDATE = {
    "id",
    "status",
    "body",
    "incident_id",
    "created_at",
    "updated_at",
    "display_at",
    "affected_components",
    "deliver_notifications",
    "custom_tweet",
    "tweet_id",
}
TOP = {
    "summary.json": {"page", "components", "incidents", "scheduled_maintenances", "status"},
    "status.json": {"page", "status"},
    "components.json": {"page", "components"},
    "incidents.json": {"page", "incidents"},
    "incidents/unresolved.json": {"page", "incidents"},
    "scheduled-maintenances.json": {"page", "scheduled_maintenances"},
    "scheduled-maintenances/upcoming.json": {"page", "scheduled_maintenances"},
    "scheduled-maintenances/active.json": {"page", "scheduled_maintenances"},
}


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(configuration(tmp_path / "page.sqlite3")) as started:
        await started.say(quarter())
        yield started


def check(document: dict[str, Any]) -> None:
    """Every object in the document has exactly the documented fields."""
    assert set(document["page"]) == PAGE
    for component in document.get("components", []):
        assert set(component) == COMPONENT | ({"components"} if component["group"] else set())
    for one in document.get("incidents", []):
        assert set(one) == INCIDENT
        for component in one["components"]:
            assert set(component) == COMPONENT
        for update in one["incident_updates"]:
            assert set(update) == UPDATE
            assert update["incident_id"] == one["id"]
            for affected in update["affected_components"]:
                assert set(affected) == {"code", "name", "old_status", "new_status"}


@pytest.mark.parametrize("path", TOP)
async def test_a_document_has_the_documented_fields_and_no_others(page: Running, path: str) -> None:
    document = await page.json(path)
    assert set(document) == TOP[path]
    check(document)


async def test_the_status_names_the_worst_component(page: Running) -> None:
    status = (await page.json("status.json"))["status"]
    assert status == {"indicator": "major", "description": "Partial System Outage"}


async def test_only_open_incidents_are_unresolved(page: Running) -> None:
    [one] = (await page.json("incidents/unresolved.json"))["incidents"]
    assert (one["id"], one["status"], one["impact"]) == ("INC-0006", "identified", "major")
    assert one["resolved_at"] is None
    assert one["shortlink"] == "https://status.harbour.example/incidents/INC-0006"
    assert len((await page.json("incidents.json"))["incidents"]) == 6


async def test_updates_are_newest_first_and_say_what_changed(page: Running) -> None:
    found = (await page.json("incidents.json"))["incidents"]
    [outage] = [one for one in found if one["impact"] == "critical"]
    phases = [update["status"] for update in outage["incident_updates"]]
    assert phases == ["resolved", "monitoring", "identified", "investigating"]
    last, first = outage["incident_updates"][0], outage["incident_updates"][-1]
    assert [
        (one["name"], one["old_status"], one["new_status"]) for one in last["affected_components"]
    ] == [
        ("Storefront", "major_outage", "operational"),
        ("Checkout", "major_outage", "operational"),
    ]
    assert first["affected_components"][0]["old_status"] == "operational"
    assert first["affected_components"][0]["new_status"] == "major_outage"
    assert outage["monitoring_at"] == outage["incident_updates"][1]["created_at"]


async def test_groups_stand_before_their_members_and_carry_the_worst_status(page: Running) -> None:
    components = (await page.json("components.json"))["components"]
    assert [one["position"] for one in components] == list(range(1, 8))
    shop = components[0]
    members = [one for one in components if one["group_id"] == shop["id"]]
    assert (shop["name"], shop["group"], shop["status"]) == ("Shop", True, "partial_outage")
    assert shop["components"] == [one["id"] for one in members]
    assert [one["name"] for one in members] == ["Storefront", "Search and catalogue", "Checkout"]


@pytest.mark.parametrize(
    ("severity", "status", "indicator"),
    [
        ("P1", "major_outage", "critical"),
        ("P2", "partial_outage", "major"),
        ("P3", "degraded_performance", "minor"),
        ("P4", "degraded_performance", "minor"),
    ],
)
async def test_severity_gives_the_component_status(
    tmp_path: Path, severity: Any, status: str, indicator: str
) -> None:
    async with running(configuration(tmp_path / "page.sqlite3")) as page:
        opened = life(incident(severity=severity))[:1]
        await page.say(opened)
        summary = await page.json("summary.json")
    statuses = {one["name"]: one["status"] for one in summary["components"]}
    assert statuses["Checkout"] == status
    assert statuses["Storefront"] == "operational"
    assert summary["status"]["indicator"] == indicator


async def test_when_all_is_resolved_everything_is_operational(page: Running) -> None:
    await page.say(life(incident(6, started_ms=NOW_MS - 42 * MINUTE_MS))[3:])
    summary = await page.json("summary.json")
    assert summary["incidents"] == []
    assert {one["status"] for one in summary["components"]} == {"operational"}
    assert summary["status"] == {"indicator": "none", "description": "All Systems Operational"}


async def test_an_unknown_document_is_not_found_and_says_where_to_look(page: Running) -> None:
    answer = await page.ask("/api/v2/nothing.json")
    assert answer.status == 404
    assert "/api/v2/summary.json" in answer.text
