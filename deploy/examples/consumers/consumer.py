"""Says what happens to incidents: `python consumer.py localhost:9092` (needs confluent-kafka)."""

import json
import sys

from confluent_kafka import Consumer

settings = {"bootstrap.servers": sys.argv[1], "group.id": "me", "auto.offset.reset": "earliest"}
consumer = Consumer(settings)
consumer.subscribe(["tocsin.incident-events.v1"])
while True:
    message = consumer.poll(1.0)
    if message is not None and message.error() is None:
        event = json.loads(message.value())
        print(event["type"], event["incident"]["severity"], event["text"], flush=True)
