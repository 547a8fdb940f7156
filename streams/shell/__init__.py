"""The worker: Faust's app, agents and tables around the pure stages; it decides nothing."""
