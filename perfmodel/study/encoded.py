"""Columns → bytes of a file: CSV, JSON lines or Parquet, part by part, and parts → the whole file."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from perfmodel.errors import RequestError
from perfmodel.spec import nearest
from perfmodel.study.coded import Coded
from perfmodel.study.columns import TEXT, TRUTH, WHOLE
from perfmodel.table import Table

SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
COPIED = 1 << 20  # bytes at a time


def form_of(file: Path, use: str = "--out") -> str:
    """How a file of that name is written; RequestError where its end says nothing, or a package is missing."""
    form = SUFFIXES.get(file.suffix.lower())
    if form is None:
        guess = nearest(file.suffix.lower(), SUFFIXES)
        hint = f" (did you mean {guess}?)" if guess else ""
        raise RequestError(f"{use} {file}: the name must end in .csv, .jsonl or .parquet{hint}.")
    if form == "parquet":
        _arrow()
    return form


def table_of(columns: Mapping[str, Any], kinds: Mapping[str, str]) -> Table:
    """Columns as a person or pandas meets them: words as words, whole numbers as such where none is missing."""
    import numpy as np

    found: dict[str, Any] = {}
    for name, values in columns.items():
        if isinstance(values, Coded):
            found[name] = values.array()
        elif kinds.get(name) == WHOLE and not np.isnan(values).any():
            found[name] = values.astype(np.int64)
        else:
            found[name] = values
    return Table(found)


def plain(columns: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, list[Any]]:
    """Columns as lists; None where there is no value, whole numbers without a point."""
    import numpy as np

    found: dict[str, list[Any]] = {}
    for name, values in columns.items():
        if isinstance(values, Coded) or values.dtype == bool:
            found[name] = values.tolist()
            continue
        missing = np.isnan(values)
        whole = kinds.get(name) == WHOLE
        if not missing.any():
            found[name] = values.astype(np.int64).tolist() if whole else values.tolist()
        else:
            found[name] = [
                None if gone else int(v) if whole else v for v, gone in zip(values.tolist(), missing, strict=True)
            ]
    return found


def encoded(columns: Mapping[str, Any], kinds: Mapping[str, str], form: str) -> bytes:
    """Rows as a part of a file; of a CSV without the header."""
    if form == "parquet":
        return _parquet(columns, kinds)
    lists = plain(columns, kinds)
    if form == "csv":
        return Table(lists).to_csv().partition("\n")[2].encode()
    names = list(lists)
    rows = zip(*lists.values(), strict=True)
    return "".join(f"{json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False)}\n" for row in rows).encode()


def header(kinds: Mapping[str, str], form: str) -> bytes:
    """What stands before the first part."""
    return Table({name: [] for name in kinds}).to_csv().encode() if form == "csv" else b""


def assembled(parts: Iterable[Path], kinds: Mapping[str, str], form: str, file: Path) -> None:
    """Write the parts, in order, as one file."""
    if form == "parquet":
        _assembled_parquet(parts, kinds, file)
        return
    with file.open("wb") as out:
        out.write(header(kinds, form))
        for part in parts:
            with part.open("rb") as opened:
                while held := opened.read(COPIED):
                    out.write(held)


# ── Parquet ──────────────────────────────────────────────────────────────────────────────────────


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise RequestError(
            'Parquet needs pyarrow: pip install "perfmodel[sweep]", or write .csv or .jsonl instead.'
        ) from None
    return pyarrow


def schema(kinds: Mapping[str, str]) -> Any:
    """The Arrow schema of a table with these columns."""
    pa = _arrow()
    types = {TEXT: pa.string(), TRUTH: pa.bool_(), WHOLE: pa.int64()}
    return pa.schema([(name, types.get(kind, pa.float64())) for name, kind in kinds.items()])


def _arrow_table(columns: Mapping[str, Any], kinds: Mapping[str, str]) -> Any:
    import numpy as np

    pa = _arrow()
    fields = schema({name: kinds.get(name, TEXT if isinstance(columns[name], Coded) else "") for name in columns})
    arrays = []
    for name, values in columns.items():
        if isinstance(values, Coded):
            words = pa.DictionaryArray.from_arrays(pa.array(values.codes), pa.array(list(values.words), pa.string()))
            arrays.append(words.cast(pa.string()))
        elif values.dtype == bool:
            arrays.append(pa.array(values))
        else:
            missing = np.isnan(values)
            gone = missing if missing.any() else None
            if kinds.get(name) == WHOLE:
                values = np.where(missing, 0, values).astype(np.int64)
            arrays.append(pa.array(values, mask=gone))
    return pa.Table.from_arrays(arrays, schema=fields)


def _writer(target: Any, fields: Any) -> Any:
    import pyarrow.parquet as pq

    words = [field.name for field in fields if str(field.type) == "string"]
    return pq.ParquetWriter(target, fields, use_dictionary=words, compression="snappy", write_statistics=True)


def _parquet(columns: Mapping[str, Any], kinds: Mapping[str, str]) -> bytes:
    held = io.BytesIO()
    table = _arrow_table(columns, kinds)
    with _writer(held, table.schema) as writer:
        writer.write_table(table)
    return held.getvalue()


def _assembled_parquet(parts: Iterable[Path], kinds: Mapping[str, str], file: Path) -> None:
    import pyarrow.parquet as pq

    with _writer(file, schema(kinds)) as writer:
        for part in parts:
            writer.write_table(pq.read_table(part, memory_map=True))
