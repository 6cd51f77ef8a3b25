"""Parquet tables: a row a second in every clip's folder, and both tables over all clips in `summary/`."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from perception.archive import seconds
from perception.archive.error import ArchiveError
from perception.archive.store import Store

SECONDS_FILE: Final = "seconds.parquet"
CLIPS_TABLE, SECONDS_TABLE = "summary/clips.parquet", "summary/seconds.parquet"
CLIPS_SCHEMA: Final = {
    **{"clip": "string", "outcome": "string", "reason": "string", "address": "string"},
    **{"size": "int64", "frames": "int64", "masks": "int64", "withheld": "int64", "dropped": "int64"},
    **{"decode_errors": "int64", "duration_s": "double", "rate_hz": "double", "width": "int32"},
    **{"height": "int32", "direct": "float", "alternative": "float", "drivable": "float"},
    **{"certainty_mean": "float", "ood_score": "float", "luma": "float", "camera_not_ok": "int64"},
    **{"wall_s": "double", "cpu_s": "double", "attempts": "int32", "model_id": "string", "run_id": "string"},
    **{"settings_sha256": "string", "model_sha256": "string", "finished_utc": "string"},
}
_ROWS_A_GROUP: Final = 100_000


def schema_of(columns: dict[str, str]) -> pa.Schema:
    """Of Arrow, from names and types."""
    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()])


def table_bytes(columns: dict[str, str], rows: Sequence[dict[str, Any]]) -> bytes:
    """Rows as a Parquet file (zstd)."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema_of(columns)), buffer, compression="zstd")
    return buffer.getvalue()


def seconds_bytes(rows: Iterable[dict[str, Any]]) -> bytes:
    """A row a second of one clip as a Parquet file."""
    return table_bytes(seconds.SCHEMA, list(rows))


def write_tables(store: Store, rows: Sequence[dict[str, Any]], folders: Iterable[str]) -> None:
    """Both tables over all clips.

    Args:
        rows: a row a clip.
        folders: of the clips that have a row a second, relative to the store.

    Raises:
        ArchiveError: if they cannot be read or written.
    """
    store.write(CLIPS_TABLE, table_bytes(CLIPS_SCHEMA, rows))
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, schema_of(seconds.SCHEMA), compression="zstd") as writer:
        for table in _merged(store, folders):
            writer.write_table(table)
    store.write(SECONDS_TABLE, buffer.getvalue())


def _merged(store: Store, folders: Iterable[str]) -> Iterator[pa.Table]:
    """The clips' own tables, many of them in one row group."""
    waiting: list[pa.Table] = []
    for folder in folders:
        content = store.read(f"{folder}/{SECONDS_FILE}")
        if content is not None:
            try:
                waiting.append(pq.read_table(io.BytesIO(content), schema=schema_of(seconds.SCHEMA)))
            except pa.ArrowException as error:
                why = " ".join(str(error).split())
                raise ArchiveError(
                    f"{store}/{folder}/{SECONDS_FILE}: is damaged ({why}); remove its folder, and run again"
                ) from None
        if sum(len(table) for table in waiting) >= _ROWS_A_GROUP:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)
