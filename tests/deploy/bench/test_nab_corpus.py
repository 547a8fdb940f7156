"""A corpus is read whole, and what is wrong with it is said with file, line and mending."""

from pathlib import Path

import pytest

from deploy.bench.nab_corpus import LABELS, CorpusError, Window, find_corpus, read_corpus


def write(folder: Path, *rows: str, windows: str = "[]", name: str = "real/a.csv") -> Path:
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    (folder / LABELS).write_text(f'{{"{name}": {windows}}}')
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(("timestamp,value", *rows)) + "\n")
    return folder


ROWS = tuple(f"2014-04-01 00:0{minute}:00,{minute}.5" for minute in range(6))


def test_rows_times_and_windows_are_read(tmp_path: Path) -> None:
    windows = '[["2014-04-01 00:01:00.000000", "2014-04-01 00:03:00.000000"]]'

    (one,) = read_corpus(write(tmp_path, *ROWS, windows=windows))

    assert (one.name, one.windows) == ("real/a.csv", [Window(1, 3)])
    assert one.values.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert one.times_ms[1] - one.times_ms[0] == 60_000
    assert one.stamps[0] == "2014-04-01 00:00:00"


def test_a_window_between_rows_takes_the_rows_within_it(tmp_path: Path) -> None:
    windows = '[["2014-04-01 00:00:30", "2014-04-01 00:03:59"]]'

    assert read_corpus(write(tmp_path, *ROWS, windows=windows))[0].windows == [Window(1, 3)]


def test_clocks_set_back_give_a_time_twice_and_the_first_counts(tmp_path: Path) -> None:
    windows = '[["2014-04-01 00:04:00", "2014-04-01 00:05:00"]]'
    folder = write(tmp_path, *ROWS, *ROWS[3:], windows=windows)

    assert read_corpus(folder)[0].windows == [Window(4, 5)]


def test_a_checkout_of_the_benchmark_will_do(tmp_path: Path) -> None:
    write(tmp_path, *ROWS)
    (tmp_path / "data").mkdir()
    (tmp_path / "real").rename(tmp_path / "data" / "real")

    assert read_corpus(tmp_path)[0].name == "real/a.csv"


def test_a_corpus_is_found_beside_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "other" / "data" / "nab", *ROWS)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    assert len(read_corpus(find_corpus())) == 1


def test_no_corpus_anywhere_says_what_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(CorpusError, match="give --data a folder"):
        find_corpus()


@pytest.mark.parametrize(
    ("rows", "windows", "message"),
    [
        (("2014-04-01 00:00:00,abc",), "[]", r"a\.csv:2: could not convert .*'abc'.*a row is"),
        ((*ROWS, "yesterday,1"), "[]", r"a\.csv:8: Invalid isoformat.*'yesterday'"),
        ((*ROWS, "2014-04-01 00:06:00"), "[]", r"a\.csv:8: .*a row is a timestamp and a number"),
        ((*ROWS, "2014-04-01 00:06:00,nan"), "[]", r"a\.csv:8: 'nan' is not finite"),
        ((), "[]", r"a\.csv:2: no rows"),
        (ROWS, '[["2014-04-02 00:00:00", "2014-04-03 00:00:00"]]', "holds no row of the file"),
        (ROWS, '[["soon", "later"]]', "Invalid isoformat.*write 2014"),
        (ROWS, '[["2014-04-01 00:00:00"]]', r"combined_windows\.json: .*it must be"),
        (
            ROWS,
            '[["2014-04-01 00:00:00", "2014-04-01 00:03:00"],'
            ' ["2014-04-01 00:02:00", "2014-04-01 00:04:00"]]',
            "begins before the one before it ends; unite them",
        ),
    ],
)
def test_what_is_malformed_is_named(
    tmp_path: Path, rows: tuple[str, ...], windows: str, message: str
) -> None:
    with pytest.raises(CorpusError, match=message):
        read_corpus(write(tmp_path, *rows, windows=windows))


def test_a_missing_file_and_a_foreign_header_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path, *ROWS)
    (folder / "real" / "a.csv").write_text("time,value\n")
    with pytest.raises(CorpusError, match=r"a\.csv:1: 'time,value'; the first line must be"):
        read_corpus(folder)
    (folder / "real" / "a.csv").unlink()
    with pytest.raises(CorpusError, match=r"a\.csv.*give --data"):
        read_corpus(folder)
    (folder / LABELS).write_text("{}")
    with pytest.raises(CorpusError, match="names no file"):
        read_corpus(folder)
