"""Before anything runs: the configuration and the topics."""

from deploy.cli.shared import SETUP, Config, app


@app.command(group=SETUP)
def check(*, config: Config = None, offline: bool = False) -> int:
    """Say what is wrong with a configuration and whether what it names can be reached.

    Parameters
    ----------
    offline
        Check the file alone; look for no secret and reach for nothing.
    """
    from deploy.commands.check import run_check

    return run_check(config, offline=offline)


@app.command(group=SETUP)
def topics(
    *, config: Config = None, apply: bool = False, acls: bool = False, principal: str | None = None
) -> int:
    """List the topics that tocsin needs; create the missing ones with --apply.

    Parameters
    ----------
    acls
        Instead of the topics, show what each part may do on Kafka at least. Asks no broker.
    principal
        With --acls: how the parts' users begin, `tocsin-` for `User:tocsin-worker`. Prints the
        commands that give them their rights.
    """
    from deploy.commands.topics import run_acls, run_topics

    if acls or principal is not None:
        return run_acls(config, principal=principal)
    return run_topics(config, create=apply)
