"""What the runner tells Prometheus of itself."""

from prometheus_client import Counter, Gauge, Histogram

RUNS = Counter(
    "tocsin_playbook_runs_total",
    "Playbooks run, by what came of it: worked, failed.",
    ["playbook", "outcome"],
)
SECONDS = Histogram(
    "tocsin_playbook_run_seconds",
    "How long a playbook ran.",
    ["playbook"],
    buckets=(0.1, 0.5, 1, 5, 15, 30, 60, 120, 300, 900),
)
WAITING = Gauge("tocsin_playbook_runs_waiting", "Playbooks asked for whose result is not told yet.")
