"""Sweeps: many questions at once, one tidy table. `perfmodel.sweep` stands in perfmodel.study.asked."""
