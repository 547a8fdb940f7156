"""Files of events are played as one stream in the order of time."""

import gzip
from pathlib import Path

import pytest

from streams.files import EventFileError, read_events


def test_files_are_merged_by_time_and_equal_times_keep_the_order_of_the_files(
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    first.write_bytes(b'{"time":1,"f":"a"}\n{"time": 3,"f":"a"}\n\n{"time":5,"f":"a"}')
    second.write_bytes(gzip.compress(b'{"f":"b","time":2}\r\n{"time":3,"f":"b"}\n'))
    assert list(read_events([first, second])) == [
        b'{"time":1,"f":"a"}',
        b'{"f":"b","time":2}',
        b'{"time": 3,"f":"a"}',
        b'{"time":3,"f":"b"}',
        b'{"time":5,"f":"a"}',
    ]


def test_a_line_without_a_time_stays_behind_the_line_before_it(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_bytes(b'{"time":1}\nbroken\n{"time":9}\n')
    second.write_bytes(b'{"time":4}\n')
    assert list(read_events([first, second])) == [
        b'{"time":1}',
        b"broken",
        b'{"time":4}',
        b'{"time":9}',
    ]


def test_no_files_hold_no_events() -> None:
    assert list(read_events([])) == []


@pytest.mark.parametrize("content", [None, b"not gzip", gzip.compress(b'{"time":1}\n' * 99)[:-9]])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "events.jsonl.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EventFileError, match=r"events\.jsonl\.gz"):
        list(read_events([path]))
