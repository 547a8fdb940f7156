"""Ids of incidents: short, readable aloud, and the same after every replay."""

from collections.abc import Container, Iterable
from hashlib import blake2b

from schemas.anomalies import Anomaly

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Base 32 without I, L, O and U, which are misread. See https://www.crockford.com/base32.html."""


def incident_id(environment: str, first: Anomaly, taken: Container[str]) -> str:
    """`INC-` and 8 characters, from the environment and what the first anomaly is about.

    If the id is among those `taken`, a counter goes into the hash until it is not.
    """
    return _name(
        "\0".join((environment, first.series, first.kind, str(first.window_end_ms))), taken
    )


def split_id(name: str, services: Iterable[str], taken: Container[str]) -> str:
    """The id of the incident that these services of the incident `name` become."""
    return _name("\0".join((name, *sorted(services))), taken)


def _name(about: str, taken: Container[str]) -> str:
    counter = 0
    while True:
        text = about if counter == 0 else f"{about}\0{counter}"
        number = int.from_bytes(blake2b(text.encode(), digest_size=5).digest(), "big")
        name = "INC-" + "".join(CROCKFORD[number >> shift & 31] for shift in range(35, -1, -5))
        if name not in taken:
            return name
        counter += 1
