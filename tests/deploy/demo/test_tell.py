"""What the demo prints can be followed, also where messages come after the next event."""

import io

from rich.console import Console

from deploy.demo.tell import Teller
from schemas.incidents import Delivery
from tests.streams.incident_helpers import anomaly, told


def delivery(incident_id: str, subject: str) -> Delivery:
    return Delivery(
        message_id=subject,
        incident_id=incident_id,
        event_id=f"{incident_id}/1",
        recipient="on call",
        audience="engineer",
        channel="console",
        rule="all",
        status="sent",
        attempt=1,
        time_ms=0,
        subject=subject,
    )


def test_a_message_about_another_incident_than_the_one_above_names_its_own() -> None:
    first, second = told(anomaly("cart"), anomaly("smtp"), until=30)
    out = io.StringIO()
    teller = Teller(Console(file=out, width=200, no_color=True))
    teller.event(first, None)
    teller.delivery(delivery(first.incident_id, "right below"))
    teller.event(second, None)
    teller.delivery(delivery(first.incident_id, "come late"))
    teller.delivery(delivery(first.incident_id, "two\nlines"))
    lines = out.getvalue().splitlines()
    assert any(line.endswith("console: right below") for line in lines)
    assert any(line.endswith(f"console: come late  ({first.incident_id})") for line in lines)
    assert any("console: two lines" in line for line in lines)
