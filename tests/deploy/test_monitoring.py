"""The dashboard and the alerts speak of metrics that the processes have."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY
from ruamel.yaml import YAML

import deploy

ROOT = Path(deploy.__file__).parent
OPERATIONS = ROOT.parent / "docs" / "operations.md"
PACKAGES = ("deploy", "sinks", "streams")
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
OF_PROMETHEUS = {"up"}
NAME = re.compile(r"\b(?:tocsin|process)_[a-z0-9_]+\b|\bup\b")
MADE = re.compile(r"= (?:Counter|Gauge|Histogram)\(")
DURATION = re.compile(r"\d+[smhd]")


def defined() -> set[str]:
    """The names of all series that the processes serve."""
    for package in PACKAGES:
        for file in (ROOT.parent / package).rglob("*.py"):
            if "bench" not in file.parts and MADE.search(file.read_text()):
                importlib.import_module(
                    ".".join(file.relative_to(ROOT.parent).with_suffix("").parts)
                )
    return OF_PROMETHEUS | {
        family.name + suffix
        for family in REGISTRY.collect()
        for suffix in SUFFIXES.get(family.type, ("",))
    }


def rules() -> list[dict[str, Any]]:
    document = YAML(typ="safe").load((ROOT / "prometheus" / "rules.yaml").read_text())
    assert set(document) == {"groups"}
    for group in document["groups"]:
        assert set(group) <= {"name", "interval", "rules"}
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads((ROOT / "grafana" / "tocsin.json").read_bytes())
    return document


def queries() -> Iterator[tuple[str, str]]:
    """Every query, with where it stands."""
    yield from ((rule["alert"], rule["expr"]) for rule in rules())
    for panel in dashboard()["panels"]:
        yield from ((panel["title"], target["expr"]) for target in panel.get("targets", ()))


def test_every_query_is_of_metrics_that_exist() -> None:
    known = defined()
    for where, query in queries():
        names = set(NAME.findall(query))
        assert names, where
        assert names <= known, (where, names - known)


def test_every_metric_of_ours_that_says_how_well_it_works_is_on_the_dashboard() -> None:
    shown = {
        name
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
        for name in NAME.findall(target["expr"])
    }
    for name in (
        "tocsin_ready",
        "tocsin_consumer_lag_records",
        "tocsin_time_to_detect_seconds_bucket",
        "tocsin_time_to_communicate_seconds_bucket",
        "tocsin_incidents_total",
        "tocsin_notifications_total",
        "tocsin_dead_letters_total",
        "tocsin_status_page_open_incidents",
        "tocsin_sink_lag_records",
        "tocsin_sink_records_dropped_total",
    ):
        assert name in shown


def test_every_metric_is_on_the_dashboard_or_in_an_alert_or_explained() -> None:
    known = defined()  # before the registry is gone through
    shown = {name for _, query in queries() for name in NAME.findall(query)}
    shown |= set(NAME.findall(OPERATIONS.read_text()))
    assert {"tocsin_playbook_runs_total", "tocsin_http_turned_away_total"} <= known
    hidden = [
        family.name
        for family in REGISTRY.collect()
        if family.name.startswith("tocsin_")
        and not shown & {family.name + end for end in ("", *SUFFIXES.get(family.type, ()))}
    ]
    assert hidden == []


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_has_all_that_prometheus_and_people_need(rule: dict[str, Any]) -> None:
    assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Tocsin[A-Za-z]+", rule["alert"])
    assert DURATION.fullmatch(rule["for"])
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description"}
    assert all(isinstance(text, str) and text for text in rule["annotations"].values())
    assert rule["expr"].count("(") == rule["expr"].count(")")


def test_alerts_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))


def test_no_two_panels_share_a_place_or_an_id() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for place in (panel["gridPos"],)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)
