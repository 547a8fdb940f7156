"""`tocsin chaos`: does everything come to the same, whatever happens meanwhile?"""

from typing import Annotated

from cyclopts import Parameter, validators

from deploy.chaos.plan import Kind
from deploy.cli.shared import QUESTIONS, JsonFile, Positive, app


@app.command(group=QUESTIONS)
def chaos(
    *,
    seed: int = 1,
    kills: Annotated[int, Parameter(validator=validators.Number(gt=0))] = 50,
    kinds: tuple[Kind, ...] = (),
    away_seconds: Positive = 60.0,
    bootstrap: str | None = None,
    soak: bool = False,
    minutes: Positive = 30.0,
    partitions: Annotated[int, Parameter(validator=validators.Number(gt=0))] = 100,
    rate: Positive = 1_000.0,
    keep: bool = False,
    json: JsonFile = None,
) -> int:
    """Disturb everything, and compare with an undisturbed run, cell by cell.

    A recorded stream goes twice through a real Apache Kafka, two workers, the notifier with a
    receiver, the case store and the status page: once in peace, and once while processes are
    killed, brokers go away and disks fill. Ends with 1 unless both come to exactly the same.

    With --soak: steady input to many partitions, and workers that join, leave, crash and stand
    still, one of them every minute. Ends with 1 unless every event is counted exactly once, every
    partition moves and no worker's memory grows.

    Parameters
    ----------
    seed
        The same seed gives the same stream and the same disturbances.
    kills
        How many disturbances.
    kinds
        Only these; repeat it for several. All by default.
    away_seconds
        How long the broker is away when it is away for long.
    bootstrap
        Use a running Kafka (plain), which then is not disturbed itself.
    soak
        Many partitions and a group that changes every minute, instead. Of the other options only
        --seed, --keep and --json count.
    minutes
        How long a soak lasts.
    partitions
        Of a soak's raw topic.
    rate
        Events a second of a soak.
    keep
        Keep the folder with stores and logs, also if all is well.
    """
    if soak:
        from deploy.chaos.soak import Order
        from deploy.chaos.soak import main as run_soak

        return run_soak(Order(minutes, partitions, seed, rate), json=json, keep=keep)
    from deploy.chaos.run import main

    return main(
        seed=seed,
        kills=kills,
        kinds=kinds,
        away_seconds=away_seconds,
        bootstrap=bootstrap,
        json=json,
        keep=keep,
    )
