"""How a language tells times, lengths, figures and lists, by Babel, and its fixed phrases. Pure.

The phrases stand beside the templates of the language, in `templates/<language>/phrases.toml`.
"""

import tomllib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache
from math import floor, log10
from pathlib import Path
from zoneinfo import ZoneInfo

from babel import Locale
from babel.core import UnknownLocaleError
from babel.dates import format_date, format_time, get_timezone_name
from babel.lists import format_list
from babel.numbers import format_decimal

from schemas.times import utc
from sinks import words

FOLDER = Path(__file__).parent / "templates"
DEFAULT = "en"
LOCALES = {"en": "en_GB"}
"""What a language alone means; where there is nothing here, the language itself."""
LISTED = 5
QUOTED = 12
"""Names that a list has at most: of systems, and of what customers know."""

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


class Phrases:
    """The fixed phrases of a language, by section and name; `otherwise` those of another one."""

    def __init__(
        self, said: Mapping[str, Mapping[str, str]], otherwise: "Phrases | None" = None
    ) -> None:
        self._said = said
        self._otherwise = otherwise

    def __call__(self, section: str, name: str) -> str:
        """The phrase; that of the other language, or the name itself, where there is none."""
        said = self._said.get(section, {}).get(name)
        if said is None and self._otherwise is not None:
            return self._otherwise(section, name)
        return name.replace("_", " ") if said is None else said

    def has(self, section: str, name: str) -> bool:
        """Whether the language has the phrase."""
        return name in self._said.get(section, {})

    def pairs(self, section: str) -> Mapping[str, str]:
        """All of a section."""
        return self._said.get(section, {})


@cache
def phrases_in(file: Path) -> Phrases:
    """The phrases of a file, English ones where it has none.

    Raises OSError or tomllib.TOMLDecodeError.
    """
    english = FOLDER / DEFAULT / "phrases.toml"
    otherwise = None if file == english else phrases_in(english)
    return Phrases(tomllib.loads(file.read_text(encoding="utf-8")), otherwise)


def languages() -> tuple[str, ...]:
    """The languages that ship, English first."""
    found = sorted(file.parent.name for file in FOLDER.glob("*/phrases.toml"))
    return (DEFAULT, *(name for name in found if name != DEFAULT))


@cache
def labels() -> frozenset[str]:
    """What begins a fact, in all languages."""
    sections = (phrases_in(FOLDER / name / "phrases.toml").pairs("labels") for name in languages())
    return frozenset(label for section in sections for label in section.values())


def known(code: str) -> bool:
    """Whether Babel knows the language, such as `de` or `pt_BR`."""
    try:
        Locale.parse(code.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return False
    return True


class Language:
    """A language and a time zone, as one person reads them.

    Parameters
    ----------
    code
        `de`, `fr_CH`, `pt-BR`. Raises ValueError for what Babel does not know.
    zone
        Of the IANA list. Raises zoneinfo.ZoneInfoNotFoundError.
    folders
        Where phrases are looked for, first to last; English ones are the last resort.
    """

    def __init__(
        self, code: str = DEFAULT, zone: str = "UTC", folders: Sequence[Path] = (FOLDER,)
    ) -> None:
        if not known(code):
            raise ValueError(f"{code!r} is no language; give a code such as en, de or pt_BR")
        self.code = code.replace("-", "_")
        if not any((folder / self.code.partition("_")[0]).is_dir() for folder in folders):
            self.code = DEFAULT  # rather all in English than half in it
        self.name = self.code.partition("_")[0]
        self.locale = Locale.parse(LOCALES.get(self.code, self.code))
        self._zone = ZoneInfo(zone)
        names = (self.name, DEFAULT)
        files = (folder / name / "phrases.toml" for name in names for folder in folders)
        self.phrase = phrases_in(next(file for file in files if file.is_file()))

    def at(self, time_ms: int) -> datetime:
        """The time on the wall clock of the zone."""
        return utc(time_ms).astimezone(self._zone)

    def moment(self, time_ms: int) -> str:
        """Date and time: `22 August 2022, 06:27 CEST`."""
        return f"{self.day(time_ms)}, {self.clock(time_ms)}"

    def day(self, time_ms: int) -> str:
        """The date: `22 August 2022`."""
        return str(format_date(self.at(time_ms), "long", locale=self.locale))

    def clock(self, time_ms: int) -> str:
        """The time of day: `06:27 CEST`."""
        return f"{self._time(time_ms)} {self._zone_name(time_ms)}"

    def near(self, time_ms: int, beside_ms: int) -> str:
        """The time of day, with the date if it is another day than that of `beside_ms`."""
        if self.at(time_ms).date() == self.at(beside_ms).date():
            return self.clock(time_ms)
        return self.moment(time_ms)

    def span(self, start_ms: int, end_ms: int) -> str:
        """From when to when, the date once where one is enough."""
        if self.at(start_ms).date() != self.at(end_ms).date():
            first, last = self.moment(start_ms), self.moment(end_ms)
            return self.phrase("lists", "span_of_days").format(first=first, last=last)
        return self.phrase("lists", "span").format(
            day=self.day(start_ms), first=self._time(start_ms), last=self.clock(end_ms)
        )

    def duration(self, seconds: float, length: words.Length = "long") -> str:
        """A length of time in its two largest units: `2 hours 5 minutes`."""
        return words.lasting(int(seconds), self.locale, length)

    def about(self, seconds: float) -> str:
        """A length of time without seconds: `5 minutes`, `less than a minute`."""
        minutes = round(seconds / 60)
        return self.duration(minutes * 60) if minutes else self.phrase("lists", "under_a_minute")

    def number(self, value: float) -> str:
        """A count: `12,040`."""
        return str(format_decimal(round(value), locale=self.locale))

    def percent(self, ratio: float) -> str:
        """A ratio with two figures that matter: `8 %`, `0.3 %`."""
        return f"{self._figures(ratio * 100, 2)} %"

    def measure(self, value: float, unit: str = "") -> str:
        """A value with its unit, as people say it: `257 ms`, `99.6 %`, `3.1 MB`."""
        if unit == "%":
            return f"{self._figures(value * 100)} %"
        if unit == "s" and 0 < abs(value) < 1:
            small = abs(value) < 0.001
            return f"{self._figures(value * (1e6 if small else 1e3))} {'µs' if small else 'ms'}"
        if unit in ("B", "/s", ""):
            for size, prefix in _PREFIXES:
                if abs(value) >= size:
                    return f"{self._figures(value / size)} {prefix}{unit}"
        gap = "" if unit.startswith("/") else " "
        return f"{self._figures(value)}{gap}{unit}".strip()

    def words(self, values: object, most: int = LISTED) -> str:
        """A list as people write it: `a, b and c`; of many, the first few and how many more."""
        names = [str(value) for value in values] if isinstance(values, tuple | list) else []
        if len(names) > most:
            more = self.phrase("lists", "more").format(count=len(names) - most + 1)
            names = [*names[: most - 1], more]
        return str(format_list(names, locale=self.locale)) if names else ""

    def quoted(self, names: Sequence[str], form: str = "") -> str:
        """A list of names, each set apart as the language does it, so that grammar fits any.

        What stands for a service without a public name is no name: it is not set apart, and has
        the form that the sentence wants, `dative` or, at its beginning, `first`.
        """
        unnamed = self.phrase("lists", "our_service")
        if list(names) == [unnamed]:
            if form == "first":
                return unnamed[:1].upper() + unnamed[1:]
            own = f"our_service_{form}"
            return self.phrase("lists", own) if self.phrase.has("lists", own) else unnamed
        quote = self.phrase("lists", "quote")
        return self.words([quote.format(name=name) for name in names], most=QUOTED)

    def short(self, names: Sequence[str]) -> str:
        """A list of names for a subject: three at most, else two and how many more."""
        if len(names) <= 3:
            return self.words(list(names))
        more = self.phrase("lists", "short")
        return more.format(first=", ".join(names[:2]), count=len(names) - 2)

    def _time(self, time_ms: int) -> str:
        return str(format_time(self.at(time_ms), "short", locale=self.locale))

    def _zone_name(self, time_ms: int) -> str:
        own = self.at(time_ms).tzname() or "UTC"
        if own == "UTC":
            return own
        named = str(get_timezone_name(self.at(time_ms), "short", locale=self.locale))
        return named if named.isalpha() else f"UTC{named[:3]}" if own[0] in "+-" else own

    def _figures(self, value: float, figures: int = 3) -> str:
        if value == 0:
            return "0"
        places = max(0, figures - 1 - floor(log10(abs(value))))
        shown = round(value, places)
        pattern = "#,##0" + (f".{'#' * places}" if places else "")
        return str(format_decimal(shown, pattern, locale=self.locale))


def accepted(header: str) -> str:
    """The first language of an `Accept-Language` header that ships; English where none does."""
    return words.accepted(header, languages())


@lru_cache(maxsize=256)
def language(code: str, zone: str, folders: tuple[Path, ...] = (FOLDER,)) -> Language:
    """A language as `Language` has it, made once."""
    return Language(code, zone, folders)
