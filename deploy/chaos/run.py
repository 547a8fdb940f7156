"""`tocsin chaos`: an undisturbed run, a disturbed one, and what differs."""

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.brokers.apache import ApacheKafkaError
from deploy.chaos.outcome import Outcome, outcome
from deploy.chaos.perform import Performance, Tell, perform, tell_nobody
from deploy.chaos.plan import BROKER_KINDS, KINDS, MEANING, Kind, Step, plan
from deploy.chaos.receiver import Receiver
from deploy.chaos.stage import ChaosError, Place, new_place, stage
from deploy.chaos.stream import RawRecord, stream
from deploy.chaos.verdict import Verdict, compare
from deploy.console import new_console
from deploy.demo import RECORDING
from deploy.topics import TopicsError


def main(
    *,
    seed: int,
    kills: int,
    kinds: Sequence[Kind] = (),
    away_seconds: float = 60,
    bootstrap: str | None = None,
    json: Path | None = None,
    keep: bool = False,
) -> int:
    """Runs and compares. Returns 0 if the runs came to the same, 1 if not, or if they could not
    be made. The folder with logs and stores is kept where they differ, or where `keep` says so."""
    console = new_console()
    offered = [kind for kind in kinds or KINDS if not (bootstrap and kind in BROKER_KINDS)]
    if not offered:
        print(
            "tocsin chaos: the kinds broker-… need a broker that is started here", file=sys.stderr
        )
        return 2
    steps = plan(seed, kills, offered, away_seconds)
    folder = Path(tempfile.mkdtemp(prefix="tocsin-chaos-"))
    is_exact = False
    try:
        performance, verdict = run(seed, steps, folder, bootstrap)
        is_exact = verdict.exact
    except (ChaosError, ApacheKafkaError, TopicsError) as error:
        print(f"tocsin chaos: {error}\nthe logs are in {folder}", file=sys.stderr)
        return 1
    finally:
        if is_exact and not keep:
            shutil.rmtree(folder, ignore_errors=True)
    _print(console, performance, verdict)
    if json is not None:
        json.write_bytes(
            msgspec.json.format(msgspec.json.encode(_document(seed, performance, verdict)))
        )
    if not verdict.exact or keep:
        console.print(f"stores and logs: {folder}")
    if not verdict.exact:
        console.print(f"again: {_again(seed, kills, kinds, away_seconds)}", soft_wrap=True)
    return 0 if verdict.exact else 1


def run(
    seed: int, steps: Sequence[Step], folder: Path, bootstrap: str | None = None
) -> tuple[Performance, Verdict]:
    """Both runs, in the folder. Raises `ChaosError`, `ApacheKafkaError` or `TopicsError`."""
    with Receiver() as receiver, _progress() as progress:
        bar = progress.add_task("undisturbed", total=1.0)
        both = _Both(stream(RECORDING, seed, _shift_ms()), new_place(), receiver, bootstrap)
        undisturbed, expected = both.run((), folder / "undisturbed")
        _check(undisturbed)

        def tell(text: str, share: float) -> None:
            progress.update(bar, description=text, completed=share)

        disturbed, found = both.run(steps, folder / "disturbed", tell)
    if expected.cells["raw"] != found.cells["raw"]:
        raise ChaosError("the two runs were not given the same stream")
    return disturbed, compare(expected, found, kills=len(disturbed.done), unfinished=disturbed.left)


class _Both(NamedTuple):
    """What the two runs have in common."""

    records: Sequence[RawRecord]
    place: Place
    receiver: Receiver
    bootstrap: str | None

    def run(
        self, steps: Sequence[Step], folder: Path, tell: Tell = tell_nobody
    ) -> tuple[Performance, Outcome]:
        """One of them."""
        with stage(self.place, folder, self.receiver, self.bootstrap) as made:
            performance = perform(made, self.records, steps, tell)
            made.parts.stop()
            return performance, outcome(made)


def _check(undisturbed: Performance) -> None:
    if undisturbed.crashes:
        raise ChaosError(
            f"without being disturbed, there ended by themselves: {undisturbed.crashes}"
        )
    if undisturbed.left:
        raise ChaosError(f"the undisturbed run does not come to its end: {undisturbed.left}")


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _shift_ms() -> int:
    """Moves the recording so that it ended an hour ago, in whole minutes; the same for both."""
    *_, last = stream(RECORDING, 0)
    shift_ms = int(time.time() * 1000) - last.write_ms - 3_600_000
    return shift_ms // 60_000 * 60_000


def _document(seed: int, performance: Performance, verdict: Verdict) -> dict[str, Any]:
    document: dict[str, Any] = {"seed": seed} | msgspec.to_builtins(verdict)
    document["seconds"] = round(performance.seconds, 1)
    document["disturbances"] = [
        {
            "at_seconds": done.step.at_seconds,
            "kind": done.step.kind,
            "target": done.step.target,
            "lasted_seconds": done.step.seconds,
            "recovery_seconds": _rounded(done.recovery_seconds),
        }
        for done in performance.done
    ]
    return document


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _print(console: Console, performance: Performance, verdict: Verdict) -> None:
    shown = Table(title="Disturbances", title_justify="left")
    shown.add_column("what")
    for heading in ("times", "until all was caught up: median, s", "longest, s"):
        shown.add_column(heading, justify="right")
    for kind in KINDS:
        done = [each for each in performance.done if each.step.kind == kind]
        spans = sorted(d.recovery_seconds for d in done if d.recovery_seconds is not None)
        if done:
            middle = f"{spans[len(spans) // 2]:.1f}" if spans else "never"
            longest = f"{spans[-1]:.1f}" if len(spans) == len(done) else "never"
            shown.add_row(MEANING[kind], str(len(done)), middle, longest)
    console.print(shown)
    cells = Table(title="Compared, cell by cell", title_justify="left")
    cells.add_column("of")
    cells.add_column("cells", justify="right")
    cells.add_column("doubled", justify="right")
    for table, count in verdict.tables.items():
        cells.add_row(table, f"{count:,}", str(verdict.doubled_in.get(table, 0)))
    console.print(cells)
    for example in verdict.examples:
        console.print(f"  {example}", markup=False, soft_wrap=True)
    if verdict.unfinished:
        console.print(f"  not done in the end: {verdict.unfinished}", markup=False)
    said = "exact" if verdict.exact else "NOT EXACT"
    console.print(
        f"{verdict.kills} disturbances in {performance.seconds:.0f} s, {verdict.cells:,} cells: "
        f"{verdict.lost} lost, {verdict.doubled} doubled, {verdict.differing} differing, "
        f"{verdict.added} added: {said}"
    )


def _again(seed: int, kills: int, kinds: Sequence[Kind], away_seconds: float) -> str:
    options = "".join(f" --kinds {kind}" for kind in kinds)
    return f"tocsin chaos --seed {seed} --kills {kills} --away-seconds {away_seconds:g}{options}"
