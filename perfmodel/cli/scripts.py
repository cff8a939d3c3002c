"""Modules of the validate folder, which alone may use torch."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

from perfmodel.errors import RequestError

PACKAGE = "perfmodel_validate"
"""What the folder is called as a package; it lies beside perfmodel in a checkout and inside it once installed."""


def script(name: str) -> Any:
    """A module of the folder; RequestError where a package is missing that it needs."""
    from perfmodel.catalog import data_folder

    if PACKAGE not in sys.modules:
        folder = data_folder("validate")
        spec = spec_from_file_location(PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)])
        assert spec is not None
        assert spec.loader is not None
        sys.modules[PACKAGE] = package = module_from_spec(spec)
        spec.loader.exec_module(package)
    try:
        return import_module(f"{PACKAGE}.{name}")
    except ImportError as error:
        raise RequestError(f'{error}; this command needs more: pip install "perfmodel[validate]".') from None
