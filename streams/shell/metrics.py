"""The worker's Prometheus metrics, in the default registry."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)

EVENTS = Counter("tocsin_events_total", "Records read", ["topic"])
LAG_RECORDS = Gauge(
    "tocsin_consumer_lag_records", "Records not yet processed", ["topic", "partition"]
)
LAG_SECONDS = Gauge(
    "tocsin_consumer_lag_seconds",
    "Age of the record processed last while there is more to process; 0 when caught up",
    ["topic", "partition"],
)
EVENT_TIME_LAG_SECONDS = Gauge(
    "tocsin_event_time_lag_seconds",
    "Wall clock less the event time that the stage which reads this has reached",
    ["topic", "partition"],
)
SHED_RECORDS = Counter(
    "tocsin_shed_records_total",
    "Records left out as the worker was overloaded, by the tier of their service",
    ["tier"],
)
SHED_TIERS = Gauge(
    "tocsin_shed_tiers",
    "Tiers of services that are left out now, the least critical first; 0 when all is read",
    ["topic", "partition"],
)
LATE_EVENTS = Counter("tocsin_late_events_total", "Records that came after their window closed")
OVERTAKEN_BATCHES = Gauge(
    "tocsin_overtaken_batches",
    "Closed windows that came when the others had passed them, as their source had been idle",
    ["shard"],
)
DEAD_LETTERS = Counter("tocsin_dead_letters_total", "Records that could not be used", ["reason"])
LEFT_OUT = Counter(
    "tocsin_left_out_total",
    "Observations and anomalies beyond what a record of a window or the state of a shard holds",
    ["what"],
)
WINDOWS_CLOSED = Counter("tocsin_windows_closed_total", "Windows closed, over source partitions")
STAGE_SECONDS = Histogram(
    "tocsin_stage_seconds", "Time a stage takes for one run", ["stage"], buckets=_SECONDS
)
DETECTOR_SECONDS = Histogram(
    "tocsin_detector_seconds", "Time that detection takes for one run", buckets=_SECONDS
)
ANOMALIES = Counter("tocsin_anomalies_total", "Anomalies, repeats after a restart too", ["kind"])
INCIDENTS = Counter("tocsin_incidents_total", "Incidents opened", ["severity"])
FORECASTS = Counter(
    "tocsin_forecasts_total", "Forecasts that came true or were withdrawn", ["outcome"]
)
FEEDBACK = Counter(
    "tocsin_feedback_total", "Patterns whose threshold people's feedback moved", ["way"]
)
COMMANDS_REFUSED = Counter(
    "tocsin_commands_refused_total", "Commands of people that were not obeyed", ["reason"]
)
TIME_TO_DETECT = Histogram(
    "tocsin_time_to_detect_seconds",
    "Event time from an incident's first anomalous window to when it was opened",
    buckets=(5, 10, 20, 30, 60, 120, 300, 600, 1800),
)
CHECKPOINT_SECONDS = Histogram(
    "tocsin_checkpoint_seconds",
    "Time from a snapshot to its committed offset",
    ["stage"],
    buckets=_SECONDS,
)
SILENCED = Counter(
    "tocsin_incidents_silenced_total", "Incidents that woke nobody when they were opened"
)
SILENCES_EXPIRED = Counter(
    "tocsin_silences_expired_total", "Silences and turns of maintenance windows that have ended"
)
HELD_BACK = Counter(
    "tocsin_silences_held_back_total", "Incidents that a silence had held back, as it ended"
)
OUTLOOK = Gauge(
    "tocsin_outlook_right_ratio",
    "Of the last guesses about new incidents, the share that was right: category, recovery, and "
    "duration inside its span",
    ["what"],
)
CHECKPOINT_BYTES = Gauge(
    "tocsin_checkpoint_bytes", "Size of the last snapshot", ["stage", "partition"]
)
CHECKPOINT_AGE_SECONDS = Gauge(
    "tocsin_checkpoint_age_seconds", "Since the last checkpoint", ["stage", "partition"]
)
COPIES_FAILED = Counter(
    "tocsin_checkpoint_copies_failed_total", "Copies of checkpoints that the disk did not take"
)
RESTORE_SECONDS = Histogram(
    "tocsin_restore_seconds",
    "Time to restore all stages of an assignment",
    buckets=(0.1, 0.3, 1, 3, 5, 10, 30, 60, 120, 300),
)
RESTORE_FETCHED_BYTES = Counter(
    "tocsin_restore_fetched_bytes_total",
    "Of checkpoints, read from Kafka; little where the worker's disk had copies",
)
ASSIGNED_PARTITIONS = Gauge("tocsin_assigned_partitions", "Input partitions of this worker")
STALLS = Counter("tocsin_worker_stalls_total", "Stalls at which the worker began anew")
REBALANCES = Counter("tocsin_rebalances_total", "Assignments received from the group")

OF_PARTITIONS = (
    LAG_RECORDS,
    LAG_SECONDS,
    EVENT_TIME_LAG_SECONDS,
    SHED_TIERS,
    CHECKPOINT_BYTES,
    CHECKPOINT_AGE_SECONDS,
    OVERTAKEN_BATCHES,
)
"""Told by whoever has the partition: once another worker has it, these must not go on here."""
