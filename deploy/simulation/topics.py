"""The topics of a simulated system, and which of their partitions go together."""

from collections.abc import Mapping

from deploy.simulation.broker import Partition
from deploy.simulation.story import RAW, Story
from deploy.simulation.table import changelog
from schemas.configuration import Topics
from streams.shell import outgoing


def partitions(story: Story) -> dict[str, int]:
    """How many each topic has."""
    topics = story.configuration.topics
    shards = topics.observation_shards
    return {
        RAW: story.partitions,
        topics.observations: shards,
        topics.anomalies: 1,
        topics.commands: 1,
        topics.incidents: 2,
        topics.incident_events: 2,
        topics.silence_events: 1,
        topics.deliveries: 2,
        topics.dead_letters: 1,
        changelog(f"ingest-{RAW}"): story.partitions,
        changelog("detect"): shards,
        changelog("incident"): 1,
    }


def bundles(story: Story) -> list[frozenset[Partition]]:
    """What a worker reads together."""
    topics = story.configuration.topics
    return [
        *(frozenset({(RAW, p)}) for p in range(story.partitions)),
        *(frozenset({(topics.observations, p)}) for p in range(topics.observation_shards)),
        frozenset({(topics.anomalies, 0), (topics.commands, 0)}),
    ]


def written(topics: Topics, counts: Mapping[str, int]) -> list[str]:
    """The partitions that the stages write, `topic/partition`."""
    return [f"{name}/{p}" for name in outgoing.written(topics) for p in range(counts[name])]
