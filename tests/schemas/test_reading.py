"""A newer release's message is told from a broken one, and never taken for an older one."""

from typing import Literal

import msgspec
import pytest

from deploy.contracts import MESSAGES
from schemas.configuration import Configuration
from schemas.events import DeadLetter
from schemas.incidents import Command
from schemas.observations import ObservationBatch
from schemas.reading import SCHEMA_VERSION, UNREADABLE, NewerMessageError, read
from streams.run import Run
from streams.shell.connection import WorkerError
from streams.shell.reading import decode_asked, decode_run


class Said(msgspec.Struct):
    kind: Literal["a", "b"]
    note: str = ""
    schema_version: int = 1


class Foreign(msgspec.Struct):
    kind: Literal["a", "b"]


SAID = msgspec.json.Decoder(Said)


def test_what_is_new_and_can_be_left_out_is_read() -> None:
    assert read(b'{"kind":"a","colour":"red"}', SAID) == Said("a")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b'{"kind":"a","schema_version":2}', "schema version 2, and this release reads 1"),
        (b'{"kinds":["a","b"],"schema_version":2}', "schema version 2, and this release reads 1"),
        (b'{"kind":"c"}', "unknown value"),
    ],
)
def test_what_means_something_new_is_refused(value: bytes, says: str) -> None:
    with pytest.raises(NewerMessageError, match=says):
        read(value, SAID)


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[]", b'{"kind":1}', b'{"kind":"a","note":2}', b"\xff"]
)
def test_what_is_broken_is_broken(value: bytes) -> None:
    with pytest.raises(UNREADABLE):
        read(value, SAID)


@pytest.mark.parametrize("value", [b'{"kind":"c"}', b'{"kind":1,"schema_version":9}'])
def test_what_others_write_has_no_version_of_ours(value: bytes) -> None:
    with pytest.raises(UNREADABLE):
        read(value, msgspec.json.Decoder(Foreign))


@pytest.mark.parametrize("field", sorted(MESSAGES))
def test_a_message_without_a_version_is_of_the_first(field: str) -> None:
    """Where defaults are left out, a default that rises would change what older messages say."""
    kind = MESSAGES[field][0]
    default = {f.name: f.default for f in msgspec.structs.fields(kind)}["schema_version"]
    assert default == 1 <= SCHEMA_VERSION


# -- in the worker ---------------------------------------------------------------------------


def run(topic: str, *values: bytes) -> Run:
    size = len(values)
    return Run(topic, 0, range(7, 7 + size), [-1] * size, [None] * size, list(values))


WINDOW = msgspec.json.encode(ObservationBatch("telemetry/0", 0, 10_000))
NEWER = b'{"source":"telemetry/0","shard":0,"window_end_ms":20000,"schema_version":2}'


def test_a_worker_stops_before_what_a_newer_one_has_written() -> None:
    decoder = msgspec.json.Decoder(ObservationBatch)
    topic = Configuration().topics.observations
    with pytest.raises(WorkerError, match=rf"{topic}/0 at offset 8: it is of schema version 2"):
        decode_run(run(topic, WINDOW, NEWER), decoder)
    good, bad = decode_run(run(topic, WINDOW, b"{"), decoder)
    assert (len(good), [letter.reason for letter in bad]) == (1, ["malformed"])


@pytest.mark.parametrize("new", [{"type": "frobnicate"}, {"schema_version": 2}])
def test_a_command_that_only_a_newer_worker_knows_is_kept_as_a_dead_letter(
    new: dict[str, object],
) -> None:
    known = Command(id="1", type="note", incident_id="INC-1", actor="ada", issued_ms=1, text="x")
    plain = msgspec.json.decode(msgspec.json.encode(known))
    newer = msgspec.json.encode(plain | new)
    asked = run("tocsin.commands.v1", msgspec.json.encode(known), newer)
    good, bad = decode_asked(asked, msgspec.json.Decoder(Command))
    assert good == [known]
    (letter,) = bad
    assert isinstance(letter, DeadLetter)
    assert letter.value == newer
