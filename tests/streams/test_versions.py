"""Snapshots of earlier releases are led to this one's version, and others are refused."""

from typing import Any

import msgspec
import pytest

from detectors.calibration import TailCalibrator
from detectors.failure_share import FailureShareDetector
from streams.detect_versions import BANK, DETECT, each_detector
from streams.versions import Ladder, UnknownVersionError


def with_total(parts: list[Any]) -> list[Any]:
    return [*parts, sum(parts[0])]


def without_numbers(parts: list[Any]) -> list[Any]:
    return parts[1:]


LADDER = Ladder("the till", oldest=3, steps=(with_total, without_numbers))


def test_each_step_leads_one_version_further() -> None:
    lifted = [
        msgspec.msgpack.decode(LADDER.lift(msgspec.msgpack.encode(snapshot)))
        for snapshot in ([3, [1, 2]], [4, [1, 2], 3], [5, 3])
    ]
    assert lifted == [[5, 3]] * 3


def test_a_snapshot_of_this_version_is_handed_on_as_it_is() -> None:
    data = msgspec.msgpack.encode([5, {("a", "b"): 1.0}])
    assert LADDER.lift(data) is data


@pytest.mark.parametrize(
    ("version", "says"),
    [(6, "newer release; this one reads versions 3 to 5"), (2, "reads versions 3 to 5")],
)
def test_what_has_no_steps_is_refused_with_what_to_do(version: int, says: str) -> None:
    with pytest.raises(UnknownVersionError, match=says) as refused:
        LADDER.lift(msgspec.msgpack.encode([version, [1, 2]]))
    assert f"the till is of version {version}" in str(refused.value)
    assert "Nothing was changed: run " in str(refused.value)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x01", b"\x90", msgspec.msgpack.encode(["x"])])
def test_what_is_no_snapshot_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a snapshot of the till"):
        LADDER.lift(data)


def test_a_step_of_detection_changes_the_detectors_of_one_class_and_nothing_else() -> None:
    series = [
        ["cpu", "cart", "gauge", 5, [0, 7], [["Level", [1.0]], ["Trend", [2.0]]]],
        ["calls", "cart", "requests", 5, [0], [["Traffic", [3.0]]]],
    ]
    parts = [b"aligner", 10, ["fleets", series, [b"part"]], [], [], [], []]
    changed = each_detector(parts, "Trend", lambda state: [*state, None])
    series[0][-1] = [["Level", [1.0]], ["Trend", [2.0, None]]]
    assert changed == parts


def test_a_detector_of_failing_shares_of_version_4_goes_on_with_its_run() -> None:
    state = [[], 300, 0.1, 0.2, 7.0, 3, 60_000, 2.5, TailCalibrator().dump()]
    series = [["errors", "cart", "gauge", 5, [0], [["FailureShareDetector", state]]]]
    lifted = DETECT.lift(msgspec.msgpack.encode([4, b"", 10, [[], series, []], [], [], [], []]))
    [learnt] = msgspec.msgpack.decode(lifted)[1 + BANK][1][0][-1]
    detector = FailureShareDetector()
    detector.load(learnt[1])
    assert detector.dump() == learnt[1]
    assert learnt[1][5][:3] == [3, 60_000, 2.5]
