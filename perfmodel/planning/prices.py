"""What devices cost an hour: the list price on file, or a file of the user's own, by region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perfmodel.errors import RequestError, SpecError
from perfmodel.gpu import GPU
from perfmodel.spec import nearest

HOURS = 730.5
"""Hours of a month: 365.25 days of 24 hours in twelve parts."""
DEAREST = 1e6


@dataclass(frozen=True, slots=True)
class Prices:
    """USD per device and hour by the name of a GPU, ahead of the list price on file; `where` says who told them.

    With `only`, devices that it does not name have no price.
    """

    given: Mapping[str, float]
    where: str = ""
    only: bool = False

    def of(self, gpu: GPU) -> float | None:
        """USD of one device for an hour; None where nobody tells it."""
        if gpu.name in self.given:
            return self.given[gpu.name]
        return gpu.price.per_hour if gpu.price and not self.only else None

    def told(self, gpu: GPU) -> str:
        """Where the price of `gpu` comes from."""
        if gpu.name in self.given:
            return self.where
        return f"list price of {gpu.price.date}" if gpu.price else "no price"


def prices(file: str | None = None, region: str | None = None, given: Mapping[str, float] | None = None) -> Prices:
    """Prices of a YAML file, and of `given` ahead of it.

    The file maps GPUs to USD an hour, or regions to such mappings. RequestError or SpecError in one sentence otherwise.
    """
    from perfmodel.catalog import load_gpu, read_yaml

    if region is not None and file is None:
        raise RequestError("--region chooses among the regions of a price file; give --prices FILE too.")
    table: Mapping[str, Any] = {}
    if file is not None:
        data = read_yaml(Path(file))
        if not isinstance(data, Mapping) or not data:
            raise SpecError(f'{file}: must map GPUs to USD an hour, like "h100: 2.5", or regions to such lines.')
        table = _of_region(file, data, region)
    found = {}
    for where, told in ((f"{file}", table), ("--price", given or {})):
        for name, usd in told.items():
            found[load_gpu(str(name)).name] = _checked(where, str(name), usd)
    source = f"{file}{f', {region}' if region else ''}" if file else "as given"
    return Prices(found, source, only=file is not None)


def _of_region(file: str, data: Mapping[Any, Any], region: str | None) -> Mapping[str, Any]:
    regions = [name for name, value in data.items() if isinstance(value, Mapping)]
    if not regions:
        if region is not None:
            raise RequestError(f"--region {region}: {file} has no regions, only GPUs.")
        return data
    if len(regions) != len(data):
        other = next(name for name in data if name not in regions)
        raise SpecError(f"{file}: {other}: must be a mapping of GPUs to USD an hour, as {regions[0]} is.")
    if region is None:
        raise RequestError(f"{file} has regions: choose one by --region, like --region {regions[0]}.")
    if region not in data:
        guess = nearest(region, map(str, regions))
        hint = f"did you mean {guess}?" if guess else f"it has {', '.join(map(str, regions))}."
        raise RequestError(f'--region: {file} has no region called "{region}"; {hint}')
    chosen: Mapping[str, Any] = data[region]
    return chosen


def _checked(where: str, name: str, usd: object) -> float:
    if isinstance(usd, bool) or not isinstance(usd, (int, float)) or not 0 <= usd <= DEAREST:
        raise SpecError(f"{where}: {name}: must be USD per device and hour, like 2.5; got {usd!r}.")
    return float(usd)
