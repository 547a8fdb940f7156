"""The page's languages: phrases from `languages`, times and figures by Babel. Pure."""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from babel import Locale
from babel.dates import format_datetime
from babel.lists import format_list

from schemas.times import DAY_MS, utc
from sinks.words import accepted, lasting

FOLDER = Path(__file__).parent / "languages"
DEFAULT = "en"
MINUTE_MS = 60_000


class Tongue:
    """One language. Its phrases are called for by section and name, and filled in."""

    def __init__(self, code: str) -> None:
        text = (FOLDER / f"{code}.toml").read_text(encoding="utf-8")
        self.code = code
        self.phrases: Mapping[str, Mapping[str, str]] = tomllib.loads(text)
        self._locale = Locale.parse("en_GB" if code == DEFAULT else code)

    def __call__(self, section: str, name: str, /, **values: object) -> str:
        """The phrase, filled in. Raises KeyError for one that there is not."""
        return self.phrases[section][name].format(**values)

    def moment(self, time_ms: int) -> str:
        """A time with its date: `24 Nov 2026, 14:02 UTC`."""
        return self._dated(time_ms, "moment")

    def date(self, time_ms: int) -> str:
        """`3 December 2026`."""
        return str(format_datetime(utc(time_ms), f"{self._day} y", locale=self._locale))

    def short_date(self, time_ms: int) -> str:
        """`3 Dec`."""
        return self._dated(time_ms, "short_date")

    def month(self, time_ms: int) -> str:
        """`December 2026`."""
        return self._dated(time_ms, "month")

    def clock(self, time_ms: int, beside_ms: int | None = None) -> str:
        """`13:05 UTC`, with the day if it is another one than that of `beside_ms`."""
        time = f"{utc(time_ms):%H:%M}"
        if beside_ms is None or time_ms // DAY_MS == beside_ms // DAY_MS:
            return self("formats", "clock", time=time)
        return self("formats", "clock_of_day", time=time, day=self._dated(time_ms, "day"))

    def duration(self, milliseconds: int) -> str:
        """`less than a minute`, `42 minutes`, `2 hours 5 minutes`, `3 days 4 hours`."""
        minutes = round(milliseconds / MINUTE_MS)
        if minutes < 1:
            return self("formats", "under_a_minute")
        return lasting(minutes * 60, self._locale)

    def joined(self, names: Sequence[str]) -> str:
        """`A`, `A and B`, `A, B and C`."""
        return str(format_list(list(names), locale=self._locale)) if names else ""

    @property
    def _day(self) -> str:
        return self.phrases["formats"]["day"]

    def _dated(self, time_ms: int, name: str) -> str:
        pattern = self.phrases["formats"][name]
        return str(format_datetime(utc(time_ms), pattern, locale=self._locale))


@cache
def tongue(code: str = DEFAULT) -> Tongue:
    """The language of a code among `CODES`, made once."""
    return Tongue(code)


CODES: tuple[str, ...] = (
    DEFAULT,
    *sorted(file.stem for file in FOLDER.glob("*.toml") if file.stem != DEFAULT),
)
"""The languages that ship, English first."""
ENGLISH = tongue()


def preferred(asked: str | None, header: str) -> str:
    """The code that is asked for, else the first of an `Accept-Language` header that ships."""
    return asked if asked is not None and asked in CODES else accepted(header, CODES)
