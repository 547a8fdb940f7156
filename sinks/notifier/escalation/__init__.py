"""Pages step by step until somebody acknowledges: the machine is pure, its run keeps the timers."""
