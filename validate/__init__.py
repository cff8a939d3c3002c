"""What only torch can tell: models that run and kernels that are timed. Nothing else of perfmodel imports it.

The command line loads it as the package `perfmodel_validate` (perfmodel.cli.scripts), from wherever it lies.
"""
