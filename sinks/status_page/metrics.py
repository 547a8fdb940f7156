"""What the status page tells Prometheus of itself."""

from prometheus_client import Counter, Gauge, Histogram

OPEN = Gauge(
    "tocsin_status_page_open_incidents",
    "Public incidents that are not resolved, as the page shows them",
)
REQUESTS = Counter(
    "tocsin_status_page_requests_total",
    "Requests for pages, feed and JSON",
    ["route", "status"],
)
PUBLISH_DELAY = Histogram(
    "tocsin_status_page_publish_delay_seconds",
    "From the time of an incident event to its statement standing on the page",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86_400),
)
STALE = Counter(
    "tocsin_status_page_stale_total",
    "Times that the last good page was served because the store could not be read",
)
