"""`tocsin bench nab` from a corpus on disk to its tables, its JSON and the benchmark's layout."""

import csv
import gzip
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import NormalDist

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.bench.nab import NabResult, main
from deploy.bench.nab_corpus import LABELS, Series, Window, read_corpus, to_ms
from deploy.bench.nab_detect import detect, windowed_gaussian
from deploy.bench.nab_scoring import alarms, score_corpus
from schemas.configuration import Configuration

START = datetime(2014, 4, 1, tzinfo=UTC)
ROWS = 600
PUBLISHED = Path(__file__).with_name("published") / "scores.json"
RECORDED = Path(__file__).parents[2] / "detectors" / "recorded"


def stamp(row: int) -> str:
    return f"{START + timedelta(minutes=5 * row):%Y-%m-%d %H:%M:%S}"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Four noisy series, each with a lasting jump in its only window."""
    folder = tmp_path / "corpus"
    labels = {}
    for number in range(4):
        name = f"real/{number}.csv"
        noise = random.Random(number)
        values = [20 + noise.gauss(0, 1) + (80 if 400 <= i < 420 else 0) for i in range(ROWS)]
        lines = [f"{stamp(i)},{value:.4f}\n" for i, value in enumerate(values)]
        (folder / "real").mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("timestamp,value\n" + "".join(lines))
        labels[name] = [[stamp(395), stamp(430)]]
    (folder / "labels").mkdir()
    (folder / LABELS).write_bytes(msgspec.json.encode(labels))
    return folder


def test_the_tables_and_the_json_say_how_the_default_detector_does(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    json = tmp_path / "nab.json"

    assert main(corpus, json=json) == 0

    result = msgspec.json.decode(json.read_bytes(), type=NabResult)
    assert result.standard > 90
    assert result.standard_at_default_threshold > 85
    assert (result.windows_found, result.windows) == (4, 4)
    assert len(result.halves) == 2
    assert result.microseconds_per_event > 0
    assert result.default_threshold == Configuration().detection.threshold
    printed = capsys.readouterr().out
    assert "per series and day" in printed
    assert f"{result.standard:.2f}" in printed


def test_results_in_the_benchmarks_layout_score_the_same(corpus: Path, tmp_path: Path) -> None:
    json, results = tmp_path / "nab.json", tmp_path / "results"

    main(corpus, results=results, json=json)

    scores = {}
    for name in ("real/0.csv", "real/1.csv", "real/2.csv", "real/3.csv"):
        with (results / name).open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == ["timestamp", "value", "anomaly_score", "label"]
        assert [row["timestamp"] for row in rows] == [stamp(i) for i in range(ROWS)]
        assert [i for i, row in enumerate(rows) if row["label"] == "1"] == list(range(395, 431))
        scores[name] = np.array([float(row["anomaly_score"]) for row in rows])
        assert 0 <= scores[name].min() <= scores[name].max() <= 1
    report = score_corpus(scores, read_corpus(corpus))
    result = msgspec.json.decode(json.read_bytes(), type=NabResult)
    assert report.standard == pytest.approx(result.standard)
    assert report.standard_curve.at(0.5) == pytest.approx(result.standard_at_default_threshold)


def test_a_prefix_names_the_files_as_the_benchmarks_own_program_wants(
    corpus: Path, tmp_path: Path
) -> None:
    main(corpus, results=tmp_path / "tocsin", prefix="tocsin")

    assert (tmp_path / "tocsin" / "real" / "tocsin_0.csv").is_file()


def test_what_cannot_be_read_is_said_without_a_traceback(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (corpus / "real" / "2.csv").write_text("timestamp,value\n2014-04-01 00:00:00,?\n")

    assert main(corpus) == 2
    assert "2.csv:2:" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_named(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(corpus, json=tmp_path / "nowhere" / "nab.json") == 2
    assert "nowhere/nab.json" in capsys.readouterr().err


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(50, 299), st.floats(-1e6, 1e6))
def test_another_future_leaves_the_scores_of_the_past(seed: int, now: int, moved: float) -> None:
    noise = np.random.default_rng(seed)
    values = noise.normal(50, 5, 300) + 30 * (noise.random(300) < 0.02)
    times = [300_000 * i for i in range(300)]
    other = np.append(values[:now], values[now:][::-1] * 3 + moved)

    scores = [
        detect([Series("a", [], times, v, [])], Configuration(), lambda: None).scores["a"]
        for v in (values, other)
    ]

    assert scores[0][:now].tolist() == scores[1][:now].tolist()


def test_scores_do_not_depend_on_the_other_files(corpus: Path) -> None:
    series = read_corpus(corpus)

    together = detect(series, Configuration(), lambda: None).scores
    alone = detect(series[2:3], Configuration(), lambda: None).scores

    assert together["real/2.csv"].tolist() == alone["real/2.csv"].tolist()


def test_recorded_anomalies_are_found_with_few_false_alarms_at_the_default_threshold() -> None:
    labels = msgspec.json.decode(PUBLISHED.read_bytes())["files"]
    corpus = []
    for name in sorted(labels):
        path = RECORDED / f"{name.rpartition('/')[2]}.gz"
        if path.exists():
            with gzip.open(path, "rt", newline="") as file:
                rows = list(csv.DictReader(file))
            stamps = [row["timestamp"] for row in rows]
            values = np.array([float(row["value"]) for row in rows])
            windows = [Window(*window) for window in labels[name]["windows"]]
            corpus.append(Series(name, stamps, [to_ms(at) for at in stamps], values, windows))
    configuration = Configuration()

    scores = detect(corpus, configuration, lambda: None).scores

    counted = alarms(scores, corpus, configuration.detection.threshold)
    assert (len(corpus), counted.windows) == (3, 9)
    assert counted.found >= 6
    assert counted.false / counted.days < 0.05


def test_the_reference_is_the_gaussian_tail_over_all_rows_so_far() -> None:
    values = np.random.default_rng(1).normal(5, 2, 50)

    scores = windowed_gaussian(values)

    before = values[:30]
    z = abs(values[30] - before.mean()) / before.std()
    assert scores[30] == pytest.approx(NormalDist().cdf(z), abs=1e-9)
    assert scores[0] == 0
