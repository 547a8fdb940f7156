"""kill -9 of every part during the recording: in the end nothing is lost and nothing is doubled."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.system import Json, System, plain, running

pytestmark = pytest.mark.slow

BY_THE_WALL = ("scheduled", "kept", "missed", "called_off")
"""What becomes of a promise, which depends on how long the killed parts were away."""

Moment = Callable[[System], bool]


def opened(count: int) -> Moment:
    """So many incidents have been opened."""
    return lambda system: len(system.seen.incidents) >= count


def told(count: int) -> Moment:
    """So many messages have been sent."""
    return lambda system: len(system.sent) >= count


KILLS: list[tuple[Moment, tuple[str, ...]]] = [
    (opened(1), ("worker",)),
    (told(1), ("notifier",)),
    (opened(2), ("worker", "case-store")),
    (opened(3), ("status-page",)),
    (opened(4), ("worker",)),
]


@pytest.mark.timeout(400)
def test_killing_every_part_changes_nothing_in_the_end(tmp_path: Path) -> None:
    (tmp_path / "undisturbed").mkdir()
    with running(tmp_path / "undisturbed") as system:
        feed = system.feed()
        system.replay(feed)
        expected = outcome(system)

    (tmp_path / "killed").mkdir()
    with running(tmp_path / "killed") as system:
        left = list(KILLS)

        def kill(system: System) -> None:
            if left and left[0][0](system):
                system.kill(*left.pop(0)[1])

        system.replay(system.feed(shift_ms=feed.shift_ms, speed=150), kill)
        while left:  # the last incident may open with the very last window
            assert left[0][0](system)
            kill(system)
            system.settle()
        found = outcome(system)
    for what, value in expected.items():
        assert found[what] == value, what
    assert max(found["sent"].values()) == 1
    assert len(expected["incidents"]) >= 4


def outcome(system: System) -> dict[str, Any]:
    """What everybody has in the end, but for wall times and addresses."""
    timelines = system.timelines()
    listed = system.json("status-page", "/api/v2/incidents.json")["incidents"]
    components = system.json("status-page", "/api/v2/components.json")["components"]
    return {
        "log": plain(system.events),
        "incidents": plain(system.seen.incidents.values()),
        "cases": [(c["number"], c["incident_id"], c["state"]) for c in system.cases()],
        "timelines": {
            incident: [without(row, "recorded_ms") for row in timeline["events"]]
            for incident, timeline in timelines.items()
        },
        "sent": Counter(delivery.message_id for delivery in system.sent),
        "deliveries in the cases": {
            incident: Counter(
                (d["message_id"], d["status"])
                for d in timeline["deliveries"]
                if d["status"] not in BY_THE_WALL
            )
            for incident, timeline in timelines.items()
        },
        "incidents on the page": [
            promised_some_time(without(i, "shortlink", "page_id", "components")) for i in listed
        ],
        "components on the page": [without(c, "page_id") for c in components],
    }


def promised_some_time(incident: Json) -> Json:
    """Without the minute of the next update, which counts from when the page was told."""
    updates = [
        update | {"body": re.sub(r"by \d\d:\d\d UTC", "by and by", update["body"])}
        for update in incident["incident_updates"]
    ]
    return incident | {"incident_updates": updates}


def without(document: Json, *names: str) -> Json:
    return {name: value for name, value in document.items() if name not in names}
