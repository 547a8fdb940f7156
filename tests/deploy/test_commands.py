"""What people say to an incident, by every way there is, comes back to all who follow it."""

import re
from collections.abc import Iterator
from urllib.parse import urlencode

import orjson
import pytest

from deploy.demo import RECORDING
from schemas.incidents import IncidentEvent
from streams.scoring import read_faults
from tests.deploy.system import Json, System, ask, running

pytestmark = pytest.mark.slow

LONG_ENOUGH_MS = 120_000
"""After a fault's injection: its incident is open then and will not be over yet."""


@pytest.fixture
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Amid the network fault."""
    faults = read_faults((RECORDING / "faults.csv").read_text())
    fault = next(fault for fault in faults if fault.kind == "network_delay")
    with running(tmp_path_factory.mktemp("system")) as system:
        system.replay(system.feed(until_ms=fault.at_ms + LONG_ENOUGH_MS))
        yield system


def test_commands_by_every_way_reach_the_log_and_all_sinks(system: System) -> None:
    incident_id = the_open_incident(system)

    link = acknowledge_link(system, incident_id)
    assert ask(link)[0] == ask(link)[0] == 200
    refused = command(system, incident_id, {"type": "note", "actor": "Eve", "text": "hm"}, "wrong")
    assert refused[0] == 401
    asked = {"type": "note", "actor": "Ada", "text": "Looking at the network.", "id": "once"}
    assert [command(system, incident_id, asked)[0] for _ in range(2)] == [202, 202]
    noted = wait_for(system, incident_id, "noted")
    # Had opening the link done anything, it would stand in the log before the note.
    assert types(system, incident_id).count("acknowledged") == 0
    assert (noted.actor, noted.text, noted.command_id) == ("Ada", "Looking at the network.", "once")

    status, page = ask(link, urlencode({"name": "Grace"}).encode())
    assert status == 200
    assert "Grace" in page
    assert wait_for(system, incident_id, "acknowledged").actor == "Grace"

    by_cli = {
        "ack": ["Me too."],
        "note": ["Restarted the switch."],
        "severity": ["P1", "Everything is slow."],
        "say": ["We found a faulty switch and are replacing it."],
        "workaround": ["Please use the telephone."],
        "expect": ["45m", "The new switch is on its way."],
        "resolve": ["The switch is replaced."],
    }
    for name, arguments in by_cli.items():
        done = system.cli(name, incident_id, *arguments, "--actor", "Linus")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{incident_id} ")
        assert done.stdout.endswith(f" by Linus: {arguments[-1]}\n")
    system.settle()

    log = [event for event in system.events if event.incident_id == incident_id]
    said = [(e.type, e.actor, e.text) for e in log if e.actor != "tocsin"]
    assert said == [
        ("noted", "Ada", "Looking at the network."),
        ("acknowledged", "Grace", "Grace is on it."),
        ("acknowledged", "Linus", "Me too."),
        ("noted", "Linus", "Restarted the switch."),
        ("severity_changed", "Linus", "Everything is slow."),
        ("public_message", "Linus", "We found a faulty switch and are replacing it."),
        ("workaround", "Linus", "Please use the telephone."),
        ("updated", "Linus", "The new switch is on its way."),
        ("resolved", "Linus", "The switch is replaced."),
    ]
    incident = log[-1].incident
    assert (incident.state, incident.severity, incident.acknowledged_by) == (
        "resolved",
        "P1",
        "Grace",
    )
    the_case_tells_it(system, incident_id, log)
    the_status_page_tells_it(system, incident_id)
    people_were_told(system, log)
    explained = system.cli("explain", incident_id)
    assert explained.returncode == 0, explained.stderr
    for part in (
        log[0].incident.signals[0].reason,
        "Why it is P1",
        "Restarted the switch.",
        "on-call engineer (engineer) by console, rule everything-to-on-call",
    ):
        assert part in explained.stdout
    assert system.cli("explain", "INC-00000000").stderr == (
        "the case store knows no incident INC-00000000\n"
    )

    concluded = system.cli("conclude", incident_id, "A switch was broken.", "It is replaced.")
    assert concluded.returncode == 0, concluded.stderr
    system.settle()
    shown = system.cli("preview", incident_id, "--language", "de", "--audience", "customer:retail")
    assert shown.returncode == 0, shown.stderr
    for part in ("Warenkorb", "Please use the telephone.", "Ursache: A switch was broken."):
        assert part in shown.stdout

    again = system.cli("note", "INC-00000000", "nobody hears this")
    assert again.returncode == 1
    assert "is INC-00000000 open or lately resolved?" in again.stderr


def the_open_incident(system: System) -> str:
    """The incident of the fault that is going on."""
    (incident,) = (i for i in system.seen.incidents.values() if i.state != "resolved")
    assert incident.visibility == "public"
    assert incident.acknowledged_by is None
    return incident.id


def acknowledge_link(system: System, incident_id: str) -> str:
    """The link in the message that told the engineer of this incident."""
    case = f"{system.addresses['case-store']}/incidents/{incident_id}"
    links = re.findall(rf"Acknowledge: (\S+)\n  Open the case: {case}\n", system.console())
    assert links
    return str(links[0])


def command(
    system: System, incident_id: str, asked: Json, token: str | None = None
) -> tuple[int, str]:
    """Posts a command to the case store."""
    token = token or system.environment["TOCSIN_DEMO_SECRET"]
    return ask(
        f"{system.addresses['case-store']}/api/v1/incidents/{incident_id}/commands",
        orjson.dumps(asked),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )


def types(system: System, incident_id: str) -> list[str]:
    return [event.type for event in system.events if event.incident_id == incident_id]


def wait_for(system: System, incident_id: str, type: str) -> IncidentEvent:
    """The first event of a type in an incident's log, once it is there."""
    system.wait_until(lambda: type in types(system, incident_id), 20)
    return next(e for e in system.events if e.incident_id == incident_id and e.type == type)


def the_case_tells_it(system: System, incident_id: str, log: list[IncidentEvent]) -> None:
    rows = system.timelines()[incident_id]["events"]
    assert [row["version"] for row in rows] == list(range(1, len(log) + 1))
    assert [(r["type"], r["actor"], r["text"]) for r in rows] == [
        (e.type, e.actor, e.text) for e in log
    ]
    page = system.get("case-store", f"/incidents/{incident_id}")
    assert "Restarted the switch." in page
    assert "Grace" in page
    audit = system.json("case-store", f"/api/v1/cases/{incident_id}")["audit"]
    assert [(a["actor"], a["step"]) for a in audit if a["command_id"] == "once"] == [
        ("Ada", "asked"),
        ("Ada", "sent"),
        ("Ada", "done"),
    ]


def the_status_page_tells_it(system: System, incident_id: str) -> None:
    (shown,) = (
        i
        for i in system.json("status-page", "/api/v2/incidents.json")["incidents"]
        if i["id"] == incident_id
    )
    assert (shown["status"], shown["impact"]) == ("resolved", "critical")
    bodies = [update["body"] for update in shown["incident_updates"]]
    assert any("We found a faulty switch" in body for body in bodies)
    page = system.get("status-page", f"/incidents/{incident_id}")
    assert "We found a faulty switch" in page
    for internal in ("Restarted the switch", "Looking at the network", "Linus", "Grace", "Ada"):
        assert internal not in page


def people_were_told(system: System, log: list[IncidentEvent]) -> None:
    told = {
        event.type: {d.recipient for d in system.sent if d.event_id == event.id}
        for event in log
        if event.actor == "Linus"
    }
    customers = {"support desk", "retail customers"}
    assert told["severity_changed"] == {"on-call engineer", "shop manager"}
    assert customers <= told["public_message"]
    assert customers | {"on-call engineer", "shop manager"} == told["resolved"]
    assert "noted" not in told or told["noted"] == set()
    by_link = [d for d in system.seen.deliveries.values() if d.status == "acknowledged"]
    assert [(d.recipient, d.detail) for d in by_link] == [("on-call engineer", "by Grace")]
    console = system.console()
    assert "We found a faulty switch and are replacing it." in console
