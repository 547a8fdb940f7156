"""What has changed is told in the reader's language, and what people wrote as they wrote it."""

from typing import get_args

import pytest

from schemas.anomalies import AnomalyKind
from schemas.classification import BusinessImpact, Scope, TechnicalSeverity
from schemas.incidents import State
from schemas.outlook import CATEGORIES
from sinks.notifier.changed import changes_told
from sinks.notifier.language import FOLDER, Language, phrases_in
from tests.sinks.examples import cpu_incident, event

SECTIONS = {
    "grade_words": {*get_args(TechnicalSeverity), *get_args(BusinessImpact)},
    "scope_words": set(get_args(Scope)),
    "category_words": set(CATEGORIES),
    "kinds": set(get_args(AnomalyKind)),
    "change_words": {
        *get_args(State),
        "internal",
        "public",
        "nobody",
        "nothing",
        "none",
        "unknown",
    },
    "forecast_words": {"standing", "came true", "withdrawn"},
}


def told(name: str, text: str, language: str = "de", now: str | None = None) -> str:
    said_now = {name.replace(" ", "_"): now} if now else {}
    made = event(cpu_incident(**said_now), "updated", changes={name: text})
    ((_, said),) = changes_told(made, Language(language))
    return said


@pytest.mark.parametrize(
    ("name", "text", "de", "fr"),
    [
        ("scope", "instance → services", "eine Instanz → mehrere Dienste", None),
        ("technical severity", "none → major", "keine → erheblich", "aucune → majeure"),
        ("category", "other → capacity", "sonstige → Kapazität", "autre → capacité"),
        ("state", "investigating → identified", "wird untersucht → Ursache erkannt", None),
        ("services", "cart, also → also public", "cart, also → auch public", None),
        ("likely cause", "unknown → cart (85 %)", "unbekannt → cart (85 %)", None),
        ("acknowledged by", "nobody → none", "niemand → none", "personne → none"),
        ("severity set by", "tocsin → major", "tocsin → major", "tocsin → major"),
        ("follows from", "nothing → INC-1", "nichts → INC-1", "rien → INC-1"),
        (
            "signals",
            "3 → also cart error ratio again, web latency",
            "3 → auch cart Fehlerquote wieder, web Antwortzeit",
            "3 → aussi cart taux d’erreur de nouveau, web temps de réponse",
        ),
        (
            "expected to be over",
            "not known → by 2026-11-24 18:00 UTC",
            "nicht bekannt → bis 2026-11-24 18:00 UTC",
            "pas connue → d’ici 2026-11-24 18:00 UTC",
        ),
        ("false alarm", "no → says ada", "nein → sagt ada", "non → selon ada"),
        ("forecast", "standing → came true: full", "gilt noch → eingetreten: full", None),
    ],
)
def test_our_own_words_are_translated_by_what_they_are_about(
    name: str, text: str, de: str, fr: str | None
) -> None:
    assert told(name, text) == de
    assert told(name, text, "en") == text
    if fr is not None:
        assert told(name, text, "fr") == fr


@pytest.mark.parametrize("name", ["public message", "workaround", "reason", "solution"])
@pytest.mark.parametrize(
    "wrote",
    [
        "Also try the public entrance: none of the major ones works again.",
        "Closed → open, also again → none",
        "state: resolved",
    ],
)
def test_a_persons_words_are_left_as_they_are(name: str, wrote: str) -> None:
    assert told(name, f"none → {wrote}", now=wrote) == f"keine → {wrote}"
    assert told(name, f"none at all → {wrote}", now=wrote) == f"none at all → {wrote}"
    assert told(name, f"{wrote} → none") == f"{wrote} → keine"


def test_that_there_is_nothing_agrees_with_what_there_is_none_of() -> None:
    wrote = "none of it works"
    assert told("public message", f"none → {wrote}", "fr", wrote) == f"aucun → {wrote}"
    assert told("workaround", f"none → {wrote}", "fr", wrote) == f"aucune → {wrote}"


@pytest.mark.parametrize("language", ["de", "fr"])
@pytest.mark.parametrize("section", SECTIONS)
def test_every_word_that_we_say_of_a_change_is_translated(section: str, language: str) -> None:
    said = phrases_in(FOLDER / language / "phrases.toml").pairs(section)
    assert sorted(SECTIONS[section] - said.keys()) == []
