"""Which records count as the same."""

import pytest
from faust.types import TP

from deploy.brokers.mock import MockBroker
from streams.shell.already import Already, Outputs
from streams.shell.checkpoints import Outgoing
from tests.streams.shell.conftest import produce

RECORD = Outgoing("out", b"key", b"value", (("name", b"header"),))


@pytest.mark.parametrize(
    "other",
    [
        RECORD._replace(topic="others"),
        RECORD._replace(key=None),
        RECORD._replace(key=b""),
        RECORD._replace(value=b"another"),
        RECORD._replace(headers=()),
        RECORD._replace(key=b"keyv", value=b"alue"),
    ],
)
def test_a_record_is_the_same_only_if_all_of_it_is(other: Outgoing) -> None:
    already = Already()
    already.add(RECORD)
    assert not already.take(other)
    assert already.take(RECORD)


def test_a_record_stands_in_for_one_repeat_only() -> None:
    already = Already()
    already.add(RECORD)
    assert [already.take(RECORD), already.take(RECORD)] == [True, False]


def test_a_partition_that_was_chosen_makes_no_difference() -> None:
    already = Already()
    already.add(RECORD)
    assert already.take(RECORD._replace(partition=3))


async def test_topics_are_read_from_where_the_stages_stood_to_their_ends(
    mock_broker: MockBroker,
) -> None:
    mock_broker.create_topic("out", 2)
    servers = mock_broker.bootstrap_servers
    await produce(servers, "out", {0: [b"0", b"1", b"2"], 1: [b"3"]}, b"key", [("name", b"header")])
    places = [TP("out", 0), TP("out", 1)]

    already, ends = await Outputs({"bootstrap_servers": servers}).since({places[0]: 1}, places)

    assert ends == {places[0]: 3, places[1]: 1}
    stands = [already.take(RECORD._replace(value=b"%d" % n)) for n in range(4)]
    assert stands == [False, True, True, False]
