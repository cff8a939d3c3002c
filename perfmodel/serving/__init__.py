"""Many requests over time: how they arrive, which passes the engine runs for them, and what each of them sees."""
