"""Says what happens to incidents: `python consumer.py localhost:9092` (needs confluent-kafka)."""

from json import loads
from sys import argv

from confluent_kafka import Consumer

settings = {"bootstrap.servers": argv[1], "group.id": "me", "auto.offset.reset": "earliest"}
consumer = Consumer(settings)
consumer.subscribe(["tocsin.incident-events.v1"])
while True:
    for message in consumer.consume(timeout=1.0):
        if not message.error():
            event = loads(message.value())
            print(event["type"], event["incident"]["severity"], event["text"], flush=True)
