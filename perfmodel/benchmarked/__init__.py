"""Result files of others' benchmarks and start-up logs of engines → rows of measurements, and what memory they tell of.

One module a tool, each with `recognises` and `runs`; `tools` finds the one that a file is of, `run` joins what the
file says with what flags say, `startup` reads logs and `terms` holds them against `perfmodel.memory`.
"""
