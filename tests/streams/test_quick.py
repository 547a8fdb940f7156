"""Whatever comes, the quick path says what the careful path says, or leaves it to that."""

import json
import random
from collections.abc import Sequence

import pytest

from schemas.configuration import Source, Windows
from streams.ingest import Ingest
from streams.packed import Packed
from streams.run import Run
from tests.streams.raw_records import T0, event, gauge, log, request, run_of

NAMES = ["cart", "pay", "", "ünï", "日本", "a" * 256, "a" * 257, 'q"t', "x\\y", "z\n", "0"]
BODIES = [
    "order 1", "order 22", "", 'gone "x"', "tab\tn", "ü 1 日本", "x" * 999, "y" * 1_001, "\x1b[0m",
    "it's 'quoted'", "0x1f id=ab12-cd", "/path/0/1", "\x7f", "order 333 for 'bob' done",
]  # fmt: skip
ODD_NUMBERS = [
    "0", "1", "-1", "1e3", "1E-3", "1e400", "-0", "-0.0", "12345678901234567890", "00", "01", "1.",
    "0.1234567890123456789", "1e", "1e+", "9007199254740993", "1e300", "1.1e300", "100000001",
    "2.5e-320", "NaN", "-Infinity", "0.000001234567890123456", "1e-400", ".5", "+1", "0e0",
]  # fmt: skip
ODD_VALUES = ["null", "true", "{}", "[]", '{"a":[1,{"b":null}]}', '[1,2,"x"]', "[1,]", '{"a"}']
TEXTS = ("service", "instance", "metric", "operation", "caller", "weird")
FIELDS = (
    *TEXTS, "value", "severity", "body", "duration_seconds", "client_duration_seconds", "status",
    "requests", "errors", "trace_id", "tim", "timex",
)  # fmt: skip
KINDS = (
    ["metric", "value", "instance"],
    ["body", "severity"],
    ["operation", "caller", "duration_seconds", "client_duration_seconds", "status"],
    ["requests", "errors", "operation"],
)


class Records:
    """Records that are nearly right, most of them."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def some(self, from_ms: int) -> list[bytes | None]:
        return [self._one(from_ms) for _ in range(self._chance.randint(1, 80))]

    def _one(self, from_ms: int) -> bytes | None:
        chance = self._chance
        fields = ["time", "service", *chance.choice(KINDS)]
        fields = [field for field in fields if chance.random() < 0.98]
        if chance.random() < 0.15:
            fields += chance.sample(FIELDS, 2)
        if chance.random() < 0.3:
            chance.shuffle(fields)
        gap = chance.choice([" ", "\n", "\t ", "\x0b"]) if chance.random() < 0.1 else ""
        said = f",{gap}".join(f'"{f}"{gap}:{gap}{self._value(f, from_ms)}' for f in fields)
        return self._spoiled(f"{{{gap}{said}{gap}}}".encode())

    def _spoiled(self, record: bytes) -> bytes | None:
        chance = self._chance.random()
        at = self._chance.randrange(len(record))
        if chance < 0.02:
            return record[:at] + bytes([self._chance.randrange(256)]) + record[at + 1 :]
        if chance < 0.03:
            return record[:at]
        if chance < 0.035:
            return record + self._chance.choice([b"x", b"{}", b" ", b"\0"])
        return None if chance < 0.04 else record

    def _value(self, field: str, from_ms: int) -> str:
        chance = self._chance
        odd = chance.random() < 0.02
        if odd and chance.random() < 0.5:
            return chance.choice(ODD_VALUES)
        if field == "time" and not odd:
            return str(T0 + from_ms + chance.randint(0, 12_000 if chance.random() < 0.1 else 4_000))
        if field in TEXTS and not odd:
            some = NAMES if chance.random() < 0.1 else NAMES[:2]
            return json.dumps(chance.choice(some), ensure_ascii=chance.random() < 0.3)
        if field == "body":
            return json.dumps(chance.choice(BODIES), ensure_ascii=chance.random() < 0.3)
        if field in ("status", "severity"):
            usual, rare = (
                ["200", "503", '"OK"', '"error"'],
                ["-1", "013", '"500"', "2.0", '"a\\nb"'],
            )
            return chance.choice(rare if odd else usual)
        if field in ("requests", "errors") and not odd:
            return str(chance.randint(0, 9))
        return chance.choice(ODD_NUMBERS) if odd else repr(10 ** chance.uniform(-6, 4))


def new(kind: str, *, quick: bool) -> Ingest:
    source = Source(topic="raw", kind=kind)  # type: ignore[arg-type]
    return Ingest(source, "raw", 3, Windows(), 2, quick=quick)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ["auto", "metric", "log", "request", "count"])
def test_both_paths_say_and_keep_the_same(
    seed: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.ingest._WORTH_RECORDS", 1)
    monkeypatch.setattr("streams.ingest._MOST_CAREFULLY", 1)
    records, quick, careful = Records(seed), new(kind, quick=True), new(kind, quick=False)
    offset = 0
    for n in range(12):
        values = records.some(5_000 * n)
        assert quick.process(run_of(values, offset)) == careful.process(run_of(values, offset))
        assert quick.snapshot() == careful.snapshot()
        offset += len(values)


@pytest.mark.parametrize("seed", range(6))
def test_many_values_of_few_series_are_summed_and_binned_to_the_bit(seed: int) -> None:
    chance = random.Random(seed)
    quick, careful = new("auto", quick=True), new("auto", quick=False)
    offset = 0
    for n in range(12):
        values = []
        for _ in range(chance.choice([40, 300, 2_000])):
            at, value = 3 * n + chance.random() * 4, 10 ** chance.uniform(-11, 8)
            client = value * chance.choice([0.5, 1.0, 1.5])
            values.append(
                chance.choice(
                    [
                        gauge(at, value * chance.choice([1, -1, 1e-3]), instance=None),
                        request(at, value, caller="web", client_duration_seconds=client),
                        request(at, value, caller=chance.choice([None, "", "web"]), status=500),
                        request(at, value, operation="\\", caller="web"),
                        gauge(at, chance.choice([-0.0, 0.0]), instance=""),
                    ]
                )
                if chance.random() < 0.999
                else b"{"
            )
        assert quick.process(run_of(values, offset)) == careful.process(run_of(values, offset))
        if chance.random() < 0.4:
            assert quick.snapshot() == careful.snapshot()
            quick.restore(careful.snapshot())
        offset += len(values)


def taken_quickly(values: Sequence[bytes]) -> int:
    """How many records of a window that is open are read at once."""
    ingest, taken = new("auto", quick=True), 0
    ingest.process(run_of([gauge(1, 1)]))
    assert ingest._quick is not None
    take = ingest._quick.take

    def counted(*arguments: object) -> object:
        nonlocal taken
        took = take(*arguments)  # type: ignore[arg-type]
        taken += took.records
        return took

    ingest._quick.take = counted  # type: ignore[assignment, method-assign]
    ingest.process(run_of(values, 1))
    return taken


def test_records_as_systems_write_them_take_the_quick_path() -> None:
    usual = [
        gauge(2, 0.1 + 0.2, instance="cart-x1"),
        log(2, 'said "hello"\n to X', attributes={"k": [1, None]}).replace(b"X", "日本".encode()),
        event(2, body="{}", severity=17),
        request(2, 1e-05, operation="GET /", caller=None, status="UNAVAILABLE"),
        request(2, 3, operation="GET /", caller="web", client_duration_seconds=3.25, status=200),
        b'{"time":%d,"service":"cart","requests":5,"errors":0}' % (T0 + 2_000),
    ] * 20
    assert taken_quickly(usual) == len(usual)


def test_more_names_texts_and_series_than_there_is_room_for_change_nothing() -> None:
    quick, careful = new("auto", quick=True), new("auto", quick=False)
    values = [
        record
        for n in range(3_000)
        for record in (
            gauge(1, n, instance=f"cart-{n}"),
            log(1, f"{chr(97 + n % 26)}{chr(97 + n // 26)} went"),
            request(1, 0.5, status=f"S{n % 300}"),
        )
    ]
    assert quick.process(run_of(values)) == careful.process(run_of(values))
    assert quick.snapshot() == careful.snapshot()


def test_packed_values_are_the_values() -> None:
    values = [b"a", None, b"", b"bcd"]
    packed = Packed.of(values)
    assert packed == values
    assert [packed[i] for i in range(4)] == values
    assert packed[1:] == values[1:]
    assert Packed.of(packed) is packed
    assert Packed.of([]) == []


def test_a_run_that_is_packed_says_the_same() -> None:
    values = [gauge(1, 1), None, b"{", log(2, "hello")] * 40
    run = run_of(values)
    packed = Run("raw", 3, run.offsets, run.timestamps_ms, run.keys, Packed.of(values))
    assert new("auto", quick=True).process(packed) == new("auto", quick=False).process(run)


def test_a_record_that_closes_a_window_finds_the_next_one_full() -> None:
    windows = Windows(max_series=40)
    source = Source(topic="raw", kind="auto")
    quick, careful = (Ingest(source, "raw", 3, windows, 2, quick=q) for q in (True, False))
    values = [
        gauge(1, 1),
        *(gauge(11, 1, instance=f"cart-{n}") for n in range(40)),
        gauge(16, 1, instance="one more"),
        *(gauge(17, 1, instance="cart-1") for _ in range(40)),
    ]
    assert quick.process(run_of(values)) == careful.process(run_of(values))
    assert quick.snapshot() == careful.snapshot()
