"""What the incident stage tells operators beside its topics: in metrics and in the worker's log."""

from collections.abc import Iterable

from mode import get_logger

from schemas.incidents import IncidentEvent
from schemas.silences import SilenceEvent
from streams.feedback import words_of
from streams.shell import metrics
from streams.shell.stages import CorrelateStage
from streams.silences import event_words

logger = get_logger(__name__)


def tell_incidents(events: Iterable[IncidentEvent], stage: CorrelateStage) -> None:
    """Counts incidents, how forecasts ended and how good guesses are."""
    closed = False
    for event in events:
        if "forecast" in event.changes and event.incident.prediction is not None:
            metrics.FORECASTS.labels(event.incident.prediction.status).inc()
        if event.type == "opened":
            incident = event.incident
            metrics.INCIDENTS.labels(incident.severity).inc()
            metrics.TIME_TO_DETECT.observe((incident.opened_ms - incident.first_anomaly_ms) / 1000)
            if incident.silenced_by is not None:
                metrics.SILENCED.inc()
        closed = closed or event.type == "closed"
    if closed:
        _tell_outlook(stage)


def tell_silences(stage: CorrelateStage) -> list[SilenceEvent]:
    """Logs which silences end and counts those that have; gives what is to be written of them."""
    events = list(stage.silence_events)
    stage.silence_events.clear()
    for event in events:
        if event.type == "ended":
            metrics.SILENCES_EXPIRED.inc()
            metrics.HELD_BACK.inc(len(event.incidents))
        logger.info("%s", event_words(event))
    return events


def _tell_outlook(stage: CorrelateStage) -> None:
    found = stage.validation()
    if found is None:
        return
    for what, share in (
        ("category", found.category_right),
        ("recovery", found.complexity_right),
        ("duration", found.within),
    ):
        if share is not None:
            metrics.OUTLOOK.labels(what).set(share)


def tell_answers(stage: CorrelateStage) -> None:
    """Logs and counts commands that were refused and thresholds that feedback has moved."""
    for command, refusal in stage.refused:
        metrics.COMMANDS_REFUSED.labels(refusal.reason).inc()
        logger.warning("command %s of %s refused: %s", command.id, command.actor, refusal.text)
    stage.refused.clear()
    for bar in stage.learned:
        metrics.FEEDBACK.labels("raised" if bar.shift > 0 else "lowered").inc()
        logger.info("feedback: %s %s", words_of([bar]), bar.reason)
    stage.learned.clear()
