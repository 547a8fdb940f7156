"""Makes the published contracts from the wire types: JSON Schemas and the AsyncAPI document.

`python -m deploy.contracts` writes them to `schemas/published`; a test fails while they are stale.
"""

from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import orjson
from ruamel.yaml import YAML

from schemas.anomalies import AnomalyBatch
from schemas.configuration import Configuration, Topics
from schemas.incidents import Command, Delivery, Incident, IncidentEvent
from schemas.observations import ObservationBatch
from schemas.silences import SilenceEvent

FOLDER = Path(__file__).parent.parent / "schemas" / "published"

MESSAGES: dict[str, tuple[type[msgspec.Struct], str, str]] = {
    "observations": (ObservationBatch, "send", "One closed window of one raw partition."),
    "anomalies": (AnomalyBatch, "send", "What was out of the ordinary in one window."),
    "incidents": (Incident, "send", "Latest state by incident id; compacted."),
    "incident_events": (IncidentEvent, "send", "Append-only log; key is the incident id."),
    "silence_events": (SilenceEvent, "send", "Which silences end; key is the silence's id."),
    "commands": (Command, "receive", "What people ask of an incident."),
    "deliveries": (Delivery, "send", "Who was told what, when, and how it went."),
}


CLOUD_EVENT: dict[str, str] = {
    "ce_id": "the event's id, of an incident `incident id/version`: a repeat has the same",
    "ce_type": "`tocsin.incident.` or `tocsin.silence.`, and the type of the event",
    "ce_source": "`/tocsin/` and the environment",
    "ce_specversion": "1.0",
    "ce_time": "event time, ISO 8601",
}
"""The headers of CloudEvents' binary mode on Kafka, on the topics of incidents and silences."""


_HEADERS = {
    "headers": {
        "type": "object",
        "required": sorted(CLOUD_EVENT),
        "properties": {
            name: {"type": "string", "description": text} for name, text in CLOUD_EVENT.items()
        },
    }
}


def json_schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a wire type."""
    schema = msgspec.json.schema(kind)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document of all topics, under their default names."""
    topics = Topics()
    channels, operations, messages = {}, {}, {}
    for name, (kind, action, summary) in MESSAGES.items():
        messages[name] = {
            "name": kind.__name__,
            "summary": summary,
            "contentType": "application/json",
            "payload": {
                "schemaFormat": "application/schema+json;version=draft-2020-12",
                "schema": {"$ref": f"./{_file_name(kind)}"},
            },
            **(_HEADERS if kind in (Incident, IncidentEvent, SilenceEvent) else {}),
        }
        channels[name] = {
            "address": getattr(topics, name),
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        }
        operations[name] = {"action": action, "channel": {"$ref": f"#/channels/{name}"}}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "tocsin",
            "version": "1.0.0",
            "description": "Topics that tocsin writes and reads.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def documents() -> dict[str, str]:
    """Every published file by name."""
    kinds = [kind for kind, _, _ in MESSAGES.values()] + [Configuration]
    files = {_file_name(kind): _json(json_schema(kind)) for kind in kinds}
    text = StringIO()
    yaml = YAML()
    yaml.width = 100
    yaml.dump(asyncapi(), text)
    return {**files, "asyncapi.yaml": text.getvalue()}


def _file_name(kind: type[msgspec.Struct]) -> str:
    return f"{kind.__name__}.schema.json"


def _json(document: Any) -> str:
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    return orjson.dumps(document, option=options).decode() + "\n"


def main() -> None:
    """Writes the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in documents().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
