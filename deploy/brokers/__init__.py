"""Brokers that tocsin can start itself: an embedded one, and a real Apache Kafka on loopback."""
