"""Everything that one `tocsin.yaml` can say. Typed, with defaults; nothing here acts.

Secrets never stand in the file: a `Secret` names an environment variable or a file.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from schemas.oncall import (
    Cadence,
    Escalation,
    Inhibition,
    MessageLimit,
    QuietHours,
    Schedule,
    Subscription,
    Way,
)
from schemas.section import Positive, Section, SeverityName
from schemas.silences import Maintenance

Port = Annotated[int, Meta(ge=0, le=65535)]


class Secret(Section, frozen=True, kw_only=True):
    """Where a secret is found: exactly one of an environment variable or a file."""

    env: str | None = None
    file: str | None = None


class Kafka(Section, frozen=True, kw_only=True):
    """How to reach Kafka; the same meaning as the client settings of these names.

    With OAUTHBEARER, tokens come by client credentials from `sasl_oauthbearer_token_endpoint_url`;
    `https_ca_location` is the authority of that address, where it is not the system's.
    """

    bootstrap_servers: str = "localhost:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    sasl_username: str | None = None
    sasl_password: Secret | None = None
    sasl_oauthbearer_token_endpoint_url: str | None = None
    sasl_oauthbearer_client_id: str | None = None
    sasl_oauthbearer_client_secret: Secret | None = None
    sasl_oauthbearer_scope: str | None = None
    sasl_oauthbearer_extensions: dict[str, str] = msgspec.field(default_factory=dict)
    https_ca_location: str | None = None
    ssl_ca_location: str | None = None
    ssl_certificate_location: str | None = None
    ssl_key_location: str | None = None
    ssl_key_password: Secret | None = None
    client_id: str = "tocsin"
    create_topics: bool = True
    replication_factor: Annotated[int, Meta(ge=1)] = 1


class Topics(Section, frozen=True, kw_only=True):
    """Names of the topics that tocsin writes."""

    observations: str = "tocsin.observations.v1"
    anomalies: str = "tocsin.anomalies.v1"
    incidents: str = "tocsin.incidents.v1"
    incident_events: str = "tocsin.incident-events.v1"
    silence_events: str = "tocsin.silence-events.v1"
    commands: str = "tocsin.commands.v1"
    deliveries: str = "tocsin.deliveries.v1"
    dead_letters: str = "tocsin.dead-letters.v1"
    observation_shards: Annotated[int, Meta(ge=1, le=1024)] = 4


class Fields(Section, frozen=True, kw_only=True):
    """Where one's own JSON holds what tocsin reads: dotted paths, `kubernetes.labels.app`.

    A segment with a dot in its name is written in brackets: `labels.[app.kubernetes.io/name]`.
    """

    time: str = "time"
    service: str = "service"
    instance: str | None = "instance"
    metric: str | None = "metric"
    value: str | None = "value"
    severity: str | None = "severity"
    body: str | None = "body"
    operation: str | None = "operation"
    caller: str | None = "caller"
    duration: str | None = "duration_seconds"
    client_duration: str | None = "client_duration_seconds"
    status: str | None = "status"
    requests: str | None = "requests"
    errors: str | None = "errors"
    trace_id: str | None = "trace_id"


class Source(Section, frozen=True, kw_only=True):
    """One raw topic and how to read its records."""

    topic: str
    kind: Literal["auto", "metric", "log", "request", "count"] = "auto"
    fields: Fields = Fields()
    time_unit: Literal["auto", "s", "ms", "us", "ns", "iso8601"] = "ms"
    duration_unit: Literal["s", "ms", "us", "ns"] = "s"
    service: str | None = None
    """For records that do not name their service."""
    metric: str | None = None
    """For a topic that holds one metric's values without its name."""


class Windows(Section, frozen=True, kw_only=True):
    """Event-time windows. A window is closed when its source's watermark, the highest event time
    seen, passes its end by the allowed lateness."""

    window_seconds: Positive = 10
    allowed_lateness_seconds: Annotated[float, Meta(ge=0)] = 5
    idle_timeout_seconds: Positive = 30
    max_ahead_seconds: Positive = 600
    """A record whose time is further than this ahead of its Kafka timestamp is a bad record."""
    max_record_bytes: Annotated[int, Meta(ge=1)] = 262_144
    max_series: Annotated[int, Meta(ge=1)] = 100_000
    """Series open in one window of a source partition, beyond which records are dead-lettered; and
    series that one shard of detection watches, beyond which new ones are counted and left out."""


class DetectorRule(Section, frozen=True, kw_only=True):
    """Names the detector of the series that match; the first match counts.

    `series` is a glob over series ids. `detector` is `default` or a River class by its path,
    `river.anomaly.GaussianScorer`, with its `parameters`; `threshold` is in that detector's score.
    """

    series: str
    detector: str = "default"
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    threshold: float | None = None
    enabled: bool = True


class SeriesLimit(Section, frozen=True, kw_only=True):
    """The value at which a gauge is full (or, coming from above, used up), for the forecast.

    `series` is a glob over series ids; `limit` is in the series' own unit.
    """

    series: str
    limit: float


class Detection(Section, frozen=True, kw_only=True):
    """What counts as an anomaly; scores are -log10 of the tail probability, alike on all series."""

    threshold: Positive = 6
    tier_threshold_offsets: dict[int, float] = msgspec.field(
        default_factory=lambda: {1: -0.5, 2: 0.0, 3: 0.5, 4: 1.0}
    )
    warmup_samples: Annotated[int, Meta(ge=1)] = 20
    silence_after_intervals: Positive = 5
    forecast_horizon_seconds: Positive = 86_400
    """A limit that will be reached within this time is told; certificates 14 days ahead."""
    limits: tuple[SeriesLimit, ...] = ()
    """Limits of gauges whose names do not tell them; ratios and percentages have theirs."""
    rules: tuple[DetectorRule, ...] = ()


class GradingRules(Section, frozen=True, kw_only=True):
    """How impact and urgency, each 1 (worst) to 3, make a severity, and what counts for impact.

    `matrix` has a row for each impact and in it a severity for each urgency; the default is the
    usual ITIL matrix, its last two as one. A step reached is a point of impact.
    """

    matrix: tuple[tuple[SeverityName, SeverityName, SeverityName], ...] = (
        ("P1", "P2", "P3"),
        ("P2", "P3", "P4"),
        ("P3", "P4", "P4"),
    )
    service_steps: tuple[int, ...] = (5, 10)
    customer_steps: tuple[int, ...] = (1_000, 10_000)
    revenue_steps: tuple[float, ...] = (1_000, 10_000)
    """Of revenue an hour, in the catalogue's currency."""


class Playbook(Section, frozen=True, kw_only=True):
    """What is tried by itself when an incident of this kind opens, before anybody is woken.

    Exactly one of `webhook` (an https URL that is posted to, signed with `secret` after the
    Standard Webhooks rules) and `command` (a program with its arguments as they stand here;
    nothing of telemetry goes into them) is run, once an incident, one at a time for each `target`.
    Nobody is woken for `hold_seconds`, unless it fails or outlasts `time_limit_seconds`.
    """

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    services: tuple[str, ...] = ("*",)
    kinds: tuple[str, ...] = ()
    """Kinds of signal of which one must be there; any if empty."""
    severities: tuple[SeverityName, ...] = ("P3", "P4")
    webhook: str | None = None
    secret: Secret | None = None
    command: tuple[str, ...] = ()
    target: str | None = None
    """What it acts on; two of the same target do not run at once. Its name if not given."""
    time_limit_seconds: Positive = 60
    hold_seconds: Positive = 600


class Incidents(Section, frozen=True, kw_only=True):
    """Correlation, grading and life cycle."""

    correlation_gap_seconds: Positive = 300
    """An anomaly this long after an incident's last one can still belong to it."""
    max_graph_distance: Annotated[int, Meta(ge=0, le=10)] = 2
    resolve_after_quiet_seconds: Positive = 300
    reopen_within_seconds: Annotated[float, Meta(ge=0)] = 600
    """The same trouble reopens an incident so long after it was resolved; later it is a new one."""
    close_after_seconds: Positive = 86_400
    stale_after_seconds: Positive = 604_800
    """An incident that nobody has taken and that has drawn nothing in for so long is over: what
    goes on unchanged for a week is how things are now, and wakes nobody for as long again."""
    suppress_children: bool = True
    """An incident that follows from an open one, no less grave, of a service that it depends on
    wakes nobody for as long as that one goes on; it is logged, graded and shown as ever."""
    public_severities: tuple[SeverityName, ...] = ("P1", "P2", "P3")
    review_severities: tuple[SeverityName, ...] = ()
    """What the public is told of these waits until it is approved, by another than its author."""
    grading: GradingRules = GradingRules()
    maintenance: tuple[Maintenance, ...] = ()
    playbooks: tuple[Playbook, ...] = ()
    outlook_after_incidents: Annotated[int, Meta(ge=2)] = 20
    """Closed incidents from which on category, recovery and duration of new ones are guessed."""
    feedback_half_life_seconds: Positive = 2_592_000
    """After so much event time half of what people's feedback moved is forgotten."""


class Service(Section, frozen=True, kw_only=True):
    """One service of the catalogue. Tier 1 is the most critical, 4 the least.

    `public_name` is what customers call it; without one it never appears on the public page.
    """

    name: str
    tier: Annotated[int, Meta(ge=1, le=4)] = 3
    owner: str | None = None
    depends_on: tuple[str, ...] = ()
    public_name: str | None = None
    public_names: dict[str, str] = msgspec.field(default_factory=dict)
    """The same in other languages: `{de: Warenkorb}`."""
    segments: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    customers: Annotated[int, Meta(ge=0)] = 0
    revenue_per_hour: Annotated[float, Meta(ge=0)] = 0
    """What it earns, in the catalogue's currency; at risk while its users feel trouble."""
    runbook: str | None = None
    limits: dict[str, float] = msgspec.field(default_factory=dict)
    """By metric: the value at which it is full, or used up, as `detection.limits` has them."""


class Catalogue(Section, frozen=True, kw_only=True):
    """The services, here or in other files (`include`, also Backstage's catalog-info.yaml)."""

    include: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] = "EUR"
    segment_names: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)
    """What the customers of a segment are called, by language: `{retail: {de: Privatkunden}}`."""


class Listen(Section, frozen=True, kw_only=True):
    """Where a process serves health and metrics (and its pages)."""

    host: str = "127.0.0.1"
    port: Port = 0


class WorkerSection(Section, frozen=True, kw_only=True):
    """The Faust worker."""

    consumer_group: str = "tocsin-worker"
    admin: Listen = Listen(port=8080)
    checkpoint_seconds: Positive = 5
    session_timeout_seconds: Annotated[float, Meta(gt=0, le=90)] = 6
    """Not heard of for so long, it is replaced. At most what Faust waits for an answer of Kafka."""
    instance_id: str | None = None
    """Static membership; name one a process (`hostname`) so that a restart moves no partition."""
    data_dir: str = "var/worker"
    """Holds copies of the checkpoints, from which a restart goes on without reading them anew."""
    standby: bool = False
    """Also keep copies of what other workers of the group save, for a quick take-over."""
    shed_after_seconds: Positive | None = None
    """So late, the worker begins to leave out services: of tier 4, at twice this of tier 3, at four
    times of tier 2, until it has made up for it. The windows say so. Without it nothing is."""


class EmailChannel(Section, frozen=True, kw_only=True):
    """E-mail over SMTP."""

    host: str
    port: Port = 587
    sender: str
    security: Literal["none", "starttls", "tls"] = "starttls"
    username: str | None = None
    password: Secret | None = None


class IncidentChannels(Section, frozen=True, kw_only=True):
    """A channel of its own for an incident, `<prefix><incident>`; recipients with the address
    `incident` write there.

    `invite` are e-mail addresses or Slack user ids, on Teams the names that people sign in with;
    `invite_by_owner` those who are invited too where an affected service has that owner in the
    catalogue.
    """

    prefix: Annotated[str, Meta(pattern=r"^[a-z0-9_-]{0,40}$")] = "inc-"
    private: bool = False
    invite: tuple[str, ...] = ()
    invite_by_owner: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)


class SlackChannel(Section, frozen=True, kw_only=True):
    """Slack by bot token (`chat.postMessage`).

    With `signing_secret` (of the Slack app) slash commands, buttons and the thread come back: the
    app's addresses are `<notifier.public_url>/slack/commands`, `/slack/actions`, `/slack/events`.
    """

    token: Secret
    base_url: str = "https://slack.com/api/"
    signing_secret: Secret | None = None
    incident_channels: IncidentChannels = IncidentChannels()


class TeamsChannel(Section, frozen=True, kw_only=True):
    """A Microsoft Teams channel by the URL of its workflow ("Post to a channel when a webhook
    request is received"), which is a secret."""

    url: Secret


class TeamsBot(Section, frozen=True, kw_only=True):
    """A Teams bot of one's own: it posts, edits and threads in the channels of one team, makes
    incidents' own channels, and takes commands at `<notifier.public_url>/teams/messages`.

    `tenant` is the directory's id, `app_id` and `password` those of the bot's app registration,
    `team` the id of the team. The bot posts through the Bot Connector at `service_url`; channels
    and people are reached through Graph.
    """

    tenant: Annotated[str, Meta(pattern=r"^[0-9A-Za-z.-]{1,80}$")]
    app_id: Annotated[str, Meta(pattern=r"^[0-9A-Za-z-]{1,80}$")]
    password: Secret
    team: Annotated[str, Meta(pattern=r"^[0-9A-Za-z-]{1,80}$")]
    incident_channels: IncidentChannels = IncidentChannels()
    service_url: str = "https://smba.trafficmanager.net/teams"
    graph_url: str = "https://graph.microsoft.com/v1.0"
    login_url: str = "https://login.microsoftonline.com"
    keys_url: str = "https://login.botframework.com/v1/.well-known/keys"
    """The keys with which the Bot Connector signs what it sends."""


class WebhookChannel(Section, frozen=True, kw_only=True):
    """A webhook, signed after the Standard Webhooks rules if a secret is given."""

    url: str
    secret: Secret | None = None


class PhoneChannel(Section, frozen=True, kw_only=True):
    """Text messages or calls through a provider's webhook: `{"to", "text", …}` to `url`, signed
    after the Standard Webhooks rules if `secret` is given, with `token` as bearer."""

    url: str
    secret: Secret | None = None
    token: Secret | None = None


class PagerDutyChannel(Section, frozen=True, kw_only=True):
    """A PagerDuty service by its integration key (Events API v2)."""

    routing_key: Secret
    base_url: str = "https://events.pagerduty.com"


class OpsgenieChannel(Section, frozen=True, kw_only=True):
    """Opsgenie by the key of an API integration; `base_url` differs in the EU."""

    api_key: Secret
    base_url: str = "https://api.opsgenie.com"


class Channels(Section, frozen=True, kw_only=True):
    """The ways a message can go out; most by a name of one's own.

    `apprise` values are secrets, since Apprise's URLs carry tokens. `teams` are workflows, which
    take cards and no more; `teams_bot` does all that Teams can. `teams_secret` is the token of a
    Teams outgoing webhook, whose address is `<notifier.public_url>/teams/commands`.
    """

    email: EmailChannel | None = None
    slack: SlackChannel | None = None
    teams: dict[str, TeamsChannel] = msgspec.field(default_factory=dict)
    teams_secret: Secret | None = None
    teams_bot: TeamsBot | None = None
    webhooks: dict[str, WebhookChannel] = msgspec.field(default_factory=dict)
    sms: dict[str, PhoneChannel] = msgspec.field(default_factory=dict)
    voice: dict[str, PhoneChannel] = msgspec.field(default_factory=dict)
    pagerduty: dict[str, PagerDutyChannel] = msgspec.field(default_factory=dict)
    opsgenie: dict[str, OpsgenieChannel] = msgspec.field(default_factory=dict)
    apprise: dict[str, Secret] = msgspec.field(default_factory=dict)


class Recipient(Section, frozen=True, kw_only=True):
    """Someone who is told: `channel` is console, email, slack, teams (the bot), or teams, webhook,
    sms, voice, pagerduty, opsgenie or apprise with a name: `webhook:NAME`.

    `address` is the e-mail address, the Slack channel or Teams channel's id (or `incident`, for
    one of the incident's own) or the telephone number; unused by the others.
    """

    name: str
    channel: str
    address: str = ""
    audience: Literal["engineer", "manager", "support", "customer"] = "engineer"
    segment: str | None = None
    region: str | None = None
    roles: tuple[str, ...] = ()
    """What routes can choose them by, instead of by their name."""
    language: str = "en"
    time_zone: str = "UTC"
    """Of the IANA list; times in messages and quiet hours are of this zone."""
    page_by: tuple[Way, ...] = ()
    """The ways of pages, one after the other if one fails; without them as all else."""
    fall_back: tuple[Way, ...] = ()
    """Further ways, one after the other, for when the channel fails."""
    subscriptions: tuple[Subscription, ...] = ()
    """What they want to hear of, beside what routes tell them."""
    quiet_hours: QuietHours | None = None
    limit: MessageLimit | None = None
    """Instead of the notifier's."""


class Route(Section, frozen=True, kw_only=True):
    """A rule: whose incidents go to whom. Every route that matches adds its recipients.

    `recipients` names recipients and schedules; `roles` adds every recipient who has one of them.
    Empty segments and regions mean any. `escalation` also pages, step by step.
    """

    name: str
    recipients: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    severities: tuple[SeverityName, ...] = ("P1", "P2", "P3", "P4")
    services: tuple[str, ...] = ("*",)
    segments: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    escalation: str | None = None
    events: tuple[
        Literal[
            "opened",
            "severity_changed",
            "acknowledged",
            "public_message",
            "resolved",
            "reopened",
            "updated",
        ],
        ...,
    ] = ("opened", "severity_changed", "reopened", "resolved")


class Notifier(Section, frozen=True, kw_only=True):
    """Who is told what over which channel."""

    consumer_group: str = "tocsin-notifier"
    listen: Listen = Listen(port=8081)
    admin: Listen | None = None
    public_url: str = "http://127.0.0.1:8081"
    store: str = "sqlite:///var/notifier.sqlite3"
    store_password: Secret | None = None
    signing_secret: Secret | None = None
    link_max_age_seconds: Positive = 604_800
    give_up_after_seconds: Positive = 86_400
    stale_after_seconds: Positive = 3600
    """What happened longer ago than this is no news any more: it is withheld, not sent."""
    templates: str | None = None
    """A folder with templates of one's own, named as those that ship: `de/customer/update.j2`."""
    channels: Channels = Channels()
    recipients: tuple[Recipient, ...] = (Recipient(name="console", channel="console"),)
    routes: tuple[Route, ...] = (Route(name="everyone", recipients=("console",)),)
    schedules: tuple[Schedule, ...] = ()
    escalations: tuple[Escalation, ...] = ()
    limit: MessageLimit = MessageLimit()
    """How many messages a recipient gets at most; what is above it comes as a digest."""
    inhibitions: tuple[Inhibition, ...] = ()
    cadence: Cadence = Cadence()
    route_tests: str | None = None
    """A file of made-up incidents with who is to be told; `tocsin check` runs it."""


class CaseStore(Section, frozen=True, kw_only=True):
    """Case, timeline and audit. `store` is an SQLAlchemy URL without a password."""

    consumer_group: str = "tocsin-case-store"
    listen: Listen = Listen(port=8082)
    admin: Listen | None = None
    public_url: str = "http://127.0.0.1:8082"
    store: str = "sqlite:///var/cases.sqlite3"
    store_password: Secret | None = None
    changes_topic: str | None = None
    """A topic of one's own that tells of deploys and other changes; see docs/incidents.md."""
    token: Secret | None = None
    """What changes something needs this token; without one the pages are read-only."""
    read_token: Secret | None = None
    """With it, reading needs this token or `token`; without it, reading is open to anybody."""


class Component(Section, frozen=True, kw_only=True):
    """A line of the status page, made of one service or several."""

    name: str
    names: dict[str, str] = msgspec.field(default_factory=dict)
    """The same in other languages: `{de: Warenkorb}`."""
    services: tuple[str, ...]
    description: str = ""
    group: str | None = None


class Playbooks(Section, frozen=True, kw_only=True):
    """The process that runs `incidents.playbooks`; without any, it need not run."""

    consumer_group: str = "tocsin-playbooks"
    listen: Listen = Listen(port=8085)
    admin: Listen | None = None
    store: str = "sqlite:///var/playbooks.sqlite3"
    store_password: Secret | None = None


class StatusPage(Section, frozen=True, kw_only=True):
    """The public page. Only what `components` name and public incidents say appears there."""

    consumer_group: str = "tocsin-status-page"
    listen: Listen = Listen(port=8083)
    admin: Listen | None = None
    """Health and metrics, away from what others may reach; without it they are beside the pages."""
    public_url: str = "http://127.0.0.1:8083"
    store: str = "sqlite:///var/status-page.sqlite3"
    store_password: Secret | None = None
    title: str = "Status"
    history_days: Annotated[int, Meta(ge=1, le=366)] = 90
    components: tuple[Component, ...] = ()


class Outgoing(Section, frozen=True, kw_only=True):
    """Where webhooks, chats, pagers, telephones, playbooks and token endpoints may be.

    `allowed_hosts` are names or addresses, `*.example.org` for all below one. Without it the hosts
    are those of the addresses in this configuration, which are the only ones that are asked
    anyway; with it, also a secret address must be of one of them. Redirects are never followed,
    and link-local addresses, where clouds keep credentials, never reached.
    """

    allowed_hosts: tuple[str, ...] = ()
    private_networks: bool = True
    """Whether names may lead into private networks and to this machine."""


class Logging(Section, frozen=True, kw_only=True):
    """Structured logs on standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["json", "console"] = "json"


class Configuration(Section, frozen=True, kw_only=True):
    """All of `tocsin.yaml`."""

    environment: str = "production"
    kafka: Kafka = Kafka()
    topics: Topics = Topics()
    sources: tuple[Source, ...] = (Source(topic="telemetry"),)
    windows: Windows = Windows()
    detection: Detection = Detection()
    incidents: Incidents = Incidents()
    catalogue: Catalogue = Catalogue()
    worker: WorkerSection = WorkerSection()
    notifier: Notifier = Notifier()
    case_store: CaseStore = CaseStore()
    status_page: StatusPage = StatusPage()
    playbooks: Playbooks = Playbooks()
    outgoing: Outgoing = Outgoing()
    logging: Logging = Logging()
