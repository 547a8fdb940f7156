"""What the notifier counts; every label is bounded by the configuration."""

from prometheus_client import Counter, Gauge, Histogram

notifications = Counter(
    "tocsin_notifications",
    "Steps of messages by channel and result: sent, withheld, retry or a failure class",
    ("channel", "result"),
)
notification_seconds = Histogram(
    "tocsin_notification_seconds",
    "Seconds that one attempt to send took",
    ("channel",),
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
)
time_to_communicate_seconds = Histogram(
    "tocsin_time_to_communicate_seconds",
    "Seconds from an incident's first anomalous moment to the message that first told a "
    "recipient of it: event time until it was opened, then wall time from its record on Kafka",
    ("channel", "audience"),
    buckets=(1, 3, 10, 20, 30, 60, 120, 300, 600, 1800, 3600),
)
outbox_messages = Gauge(
    "tocsin_notifier_outbox_messages", "Messages that wait to be sent", ("channel",)
)
oldest_unsent_seconds = Gauge(
    "tocsin_notifier_oldest_unsent_seconds", "Age of the oldest message that waits", ("channel",)
)
unpublished_deliveries = Gauge(
    "tocsin_notifier_unpublished_deliveries", "Delivery records that Kafka has not taken yet"
)
digests = Counter("tocsin_digests", "Digests of what was held back", ("channel",))
digested_messages = Counter(
    "tocsin_digested_messages", "Messages that came in a digest instead of alone", ("channel",)
)
escalations = Counter(
    "tocsin_escalation_steps",
    "Moments of escalations by policy and kind: page, reminder, lapse, exhausted, too_late",
    ("policy", "kind"),
)
timer_late_seconds = Histogram(
    "tocsin_timer_late_seconds",
    "How late timers of escalations, promises, digests and hand-overs fired",
    ("kind",),
    buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60, 300),
)
promises = Counter(
    "tocsin_promises",
    "Promises of a next update by severity and what became of them: kept, kept_by_no_change, late "
    "or missed",
    ("severity", "result"),
)
