"""`tocsin demo`: the whole product on one machine, on a recording, with nothing else installed."""
