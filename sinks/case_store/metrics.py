"""Prometheus metrics of the case store."""

from prometheus_client import Counter, Gauge

CASES = Gauge("tocsin_cases", "Cases by the incident's state.", ["state"])
ROWS = Counter("tocsin_case_store_rows_written_total", "Rows written, repeats not.", ["table"])
COMMANDS = Counter(
    "tocsin_case_store_commands_total", "Commands from pages and API.", ["type", "way", "result"]
)
SIGN_INS = Counter("tocsin_case_store_sign_ins_total", "Sign-ins by result.", ["result"])
