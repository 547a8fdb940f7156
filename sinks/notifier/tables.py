"""The notifier's tables. What they mean is said here; how they came to be, in `migrations`."""

from pathlib import Path

import sqlalchemy as sa

from sinks.database import Schema

SCHEMA = Schema("notifier", "notifier_schema_version", Path(__file__).parent / "migrations")

metadata = sa.MetaData()

_Counter = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts INTEGER keys only

position = sa.Table(
    "notifier_position",
    metadata,
    sa.Column("topic", sa.String, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("next_offset", sa.BigInteger, nullable=False),
)
"""The next offset to read; written with what the records before it led to."""

incident = sa.Table(
    "notifier_incident",
    metadata,
    sa.Column("incident_id", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),
    sa.Column("is_open", sa.Boolean, nullable=False),
    sa.Column("severity", sa.String, nullable=False),
    sa.Column("opened_ms", sa.BigInteger, nullable=False),
    sa.Column("family", sa.String, nullable=False, server_default=""),
    sa.Index("notifier_incident_family", "family"),
)
"""The latest state of each incident as JSON, and its version: an event at or below is a repeat.
Incidents that were taken out of one another, or merged, have the same `family`."""

message = sa.Table(
    "notifier_message",
    metadata,
    sa.Column("seq", _Counter, primary_key=True, autoincrement=True),
    sa.Column("message_id", sa.String, nullable=False, unique=True),
    sa.Column("event_id", sa.String, nullable=False),
    sa.Column("incident_id", sa.String, nullable=False),
    sa.Column("stage", sa.String, nullable=False),
    sa.Column("recipient", sa.String, nullable=False),
    sa.Column("audience", sa.String, nullable=False),
    sa.Column("channel", sa.String, nullable=False),
    sa.Column("rule", sa.String, nullable=False),
    sa.Column("subject", sa.String, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("asked_ms", sa.BigInteger, nullable=False),
    sa.Column("recorded_ms", sa.BigInteger, nullable=False),
    sa.Column("detection_delay_ms", sa.BigInteger),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_attempt_ms", sa.BigInteger, nullable=False),
    sa.Column("detail", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("severity", sa.String, nullable=False),
    sa.Column("sent_ms", sa.BigInteger),
    sa.Column("hold_until_ms", sa.BigInteger),
    sa.Column("hold_reason", sa.String, nullable=False, default=""),
    sa.Column("digest_id", sa.String),
    sa.Column("cancelled", sa.String, nullable=False, default=""),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("further_ways", sa.Integer, nullable=False, server_default="0"),
    sa.Index("notifier_message_due", "channel", "state", "next_attempt_ms", "seq"),
    sa.Index("notifier_message_lane", "incident_id", "recipient", "seq"),
    sa.Index("notifier_message_load", "recipient", "state", "sent_ms", "seq"),
    sa.Index("notifier_message_digest", "digest_id"),
)
"""Messages to send and sent, in order. `state`: waiting, sending, sent, failed, withheld, held
(back for a digest) or digested (in one that is on its way, `digest_id`); a message that a crash
left as sending is sent again. `cancelled` is why a message that is being sent is not tried again.

`attempts` are those that are known to have failed, `tries` those after which it may have arrived:
the two differ after a crash. `further_ways` are those left if this one fails.

`recorded_ms` is the Kafka timestamp of the event; `detection_delay_ms` is there for the message
by which a recipient first hears of an incident.
"""

thread = sa.Table(
    "notifier_thread",
    metadata,
    sa.Column("incident_id", sa.String, primary_key=True),
    sa.Column("recipient", sa.String, primary_key=True),
    sa.Column("channel", sa.String, primary_key=True),
    sa.Column("token", sa.String, nullable=False),
)
"""What later messages of an incident follow: Slack's `ts`, an e-mail's Message-ID."""

delivery = sa.Table(
    "notifier_delivery",
    metadata,
    sa.Column("seq", _Counter, primary_key=True, autoincrement=True),
    sa.Column("incident_id", sa.String, nullable=False),
    sa.Column("value", sa.LargeBinary, nullable=False),
    sa.Column("topic", sa.String, nullable=False, default=""),
)
"""Records that Kafka has not acknowledged yet: deliveries where `topic` is empty, else of it. Their
key is `incident_id`: the recipient's name for what is about no single incident."""

trail = sa.Table(
    "notifier_trail",
    metadata,
    sa.Column("seq", _Counter, primary_key=True, autoincrement=True),
    sa.Column("incident_id", sa.String, nullable=False),
    sa.Column("recipient", sa.String, nullable=False),
    sa.Column("time_ms", sa.BigInteger, nullable=False),
    sa.Column("value", sa.LargeBinary, nullable=False),
    sa.Index("notifier_trail_of", "incident_id", "recipient", "seq"),
)
"""Every delivery record that was made, for `tocsin why`."""

timer = sa.Table(
    "notifier_timer",
    metadata,
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("subject", sa.String, primary_key=True),
    sa.Column("incident_id", sa.String, nullable=False),
    sa.Column("due_ms", sa.BigInteger),
    sa.Column("state", sa.LargeBinary, nullable=False),
    sa.Index("notifier_timer_due", "due_ms"),
    sa.Index("notifier_timer_incident", "incident_id"),
)
"""What is to happen when, with the state of the machine that decides it; `due_ms` may be none."""

preference = sa.Table(
    "notifier_preference",
    metadata,
    sa.Column("recipient", sa.String, primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.String, nullable=False),
    sa.Column("set_ms", sa.BigInteger, nullable=False),
)
"""What recipients chose for themselves, such as to be told nothing more."""

pause = sa.Table(
    "notifier_pause",
    metadata,
    sa.Column("channel", sa.String, primary_key=True),
    sa.Column("until_ms", sa.BigInteger, nullable=False),
)
"""Until when a channel asked to be left alone."""

setting = sa.Table(
    "notifier_setting",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.String, nullable=False),
)
"""What the notifier made for itself once: the key of its links where none is configured."""
