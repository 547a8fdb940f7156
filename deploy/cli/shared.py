"""The application that every command is added to, its groups, and the options they share."""

from importlib import metadata
from pathlib import Path
from typing import Annotated

from cyclopts import App, Group, Parameter, validators

PROCESSES = Group("Processes", sort_key=1)
QUESTIONS = Group("Questions", sort_key=2)
ANSWERS = Group("Commands to an incident", sort_key=3)
SETUP = Group("Setting up", sort_key=4)

app = App(
    name="tocsin",
    help="Sees an outage in the telemetry that is already on Kafka, and is the first to say so.",
    version=lambda: metadata.version("tocsin"),
    version_flags=["--version"],
)
bench = App(name="bench", help="Measure, beside a reference in the same run.", group=QUESTIONS)
app.command(bench)

Config = Annotated[
    Path | None,
    Parameter(name=["--config", "-c"], help="tocsin.yaml; without it, all defaults."),
]
Positive = Annotated[float, Parameter(validator=validators.Number(gt=0))]
Actor = Annotated[str | None, Parameter(help="Who says so; the logged-in user if not given.")]
Incident = Annotated[str, Parameter(help="Its id, INC-….")]
Text = Annotated[str, Parameter(help="What to say with it.")]
JsonFile = Annotated[Path | None, Parameter(name="--json", help="Also write it here, for scripts.")]
