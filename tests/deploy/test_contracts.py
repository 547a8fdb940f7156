"""The published contracts are those of the code."""

import jsonschema
import msgspec
import pytest

from deploy import contracts
from schemas.incidents import IncidentEvent
from tests.sinks import examples


@pytest.mark.parametrize("name", sorted(contracts.documents()))
def test_a_published_contract_is_what_the_code_says(name: str) -> None:
    published = (contracts.FOLDER / name).read_text(encoding="utf-8")
    assert published == contracts.documents()[name], "run python -m deploy.contracts"


def test_incident_events_as_written_are_valid_by_their_published_schema() -> None:
    schema = contracts.json_schema(IncidentEvent)
    validator = jsonschema.Draft202012Validator(schema)
    for event in examples.cpu_fault():
        validator.validate(msgspec.json.decode(msgspec.json.encode(event)))
