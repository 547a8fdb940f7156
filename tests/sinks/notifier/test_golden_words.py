"""The messages of three recorded faults, for every audience and language, as files to read.

`pytest tests/sinks/notifier/test_golden_words.py --update-golden` writes them anew; read the
difference as the person who gets it.
"""

from pathlib import Path

import pytest

from deploy.commands.preview import internal, read_incidents, rendered
from deploy.commands.templates import RECORDED
from deploy.configuration import load

GOLDEN = Path(__file__).parent / "golden"
DEMO = Path(__file__).parents[3] / "deploy" / "demo" / "tocsin.yaml"
FAULTS = {
    "INC-N62XPEWP": "frontend_cpu",
    "INC-V3RE4EYX": "cartservice_network",
    "INC-RGWT5CRT": "checkoutservice_cpu",
}
ZONES = {"en": "UTC", "de": "Europe/Berlin", "fr": "Europe/Paris"}


@pytest.mark.parametrize("language", ZONES)
@pytest.mark.parametrize("name", FAULTS)
def test_the_messages_of_a_recorded_fault_read_as_reviewed(
    name: str, language: str, update_golden: bool
) -> None:
    configuration = load(DEMO, {})
    incident = next(made for made in read_incidents(RECORDED) if made.id == name)
    shown = list(rendered(configuration, incident, language=language, time_zone=ZONES[language]))
    assert internal(configuration, [incident], shown) == []
    text = "\n\n".join(
        f"=== {made.audience}: {made.stage} ({made.type})\n\n{made.subject}\n\n{made.text}"
        for made in shown
    )
    file = GOLDEN / f"{FAULTS[name]}.{language}.txt"
    if update_golden:
        file.write_text(f"{text}\n", encoding="utf-8")
    assert file.read_text(encoding="utf-8") == f"{text}\n"
