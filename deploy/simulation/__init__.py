"""The whole pipeline in one process, with everything that can get in its way, by seed.

Time, broker, receivers and people are models: an event loop whose clock jumps, partitions with
offsets and lost acknowledgements, endpoints that answer late or not at all. All else is the
product: stages, keepers and checkpoints (`streams`), the sinks with their SQL on SQLite in memory
(`sinks`), and the consumer that feeds them (`deploy.consume`). A process may die or stand still
between any two of its effects. What must hold afterwards is in `core_checks` and `sink_checks`.
"""
