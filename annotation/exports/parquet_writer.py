"""Conversion of JSON lines into a Parquet file, one row group at a time."""

from __future__ import annotations

from collections.abc import Generator
from io import BytesIO
from typing import TYPE_CHECKING, Any

from annotation.exports.formats import FEEDBACK_TYPES, FORMATS, ORIGIN, ORIGIN_OF_PAIR
from annotation.exports.judgment_row import Type
from annotation.exports.selection import Selection

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_BYTES = 4 * 2**20


def convert_to_parquet(
    chunks: Generator[bytes, None, None], selection: Selection
) -> Generator[bytes, None, None]:
    """The same rows, a row group for every four megabytes of JSON. Each of `chunks` ends with a newline."""
    # 20 MB of library that nothing else in the web process needs
    import pyarrow as pa
    import pyarrow.json
    import pyarrow.parquet

    schema = schema_of(selection)
    options = pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    sink = _Sink()
    with pa.parquet.ParquetWriter(sink, schema, compression="zstd") as writer:
        for group in _row_groups(chunks):
            # a line must fit into a block
            reading = pa.json.ReadOptions(use_threads=False, block_size=len(group))
            writer.write_table(
                pa.json.read_json(BytesIO(group), read_options=reading, parse_options=options).cast(schema)
            )
            yield sink.take()
    yield sink.take()


def schema_of(selection: Selection) -> pa.Schema:
    import pyarrow as pa

    format = FORMATS[selection.format]
    columns: dict[str, Type] = {name: column.type for name, column in format.columns.items()}
    if selection.ai != "exclude":
        columns |= FEEDBACK_TYPES
    if selection.origin and format.rows != "raw":
        origin = ORIGIN | (ORIGIN_OF_PAIR if format.rows == "pairs" else {})
        columns["origin"] = {name: column.type for name, column in origin.items()}
    return pa.schema([(name, _arrow_type(type)) for name, type in columns.items()])


def _arrow_type(type: Type) -> Any:
    import pyarrow as pa

    if isinstance(type, list):
        return pa.list_(_arrow_type(type[0]))
    if isinstance(type, dict):
        return pa.struct([(name, _arrow_type(inner)) for name, inner in type.items()])
    return {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}[type]


def _row_groups(chunks: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
    group = bytearray()
    for chunk in chunks:
        group += chunk
        if len(group) >= GROUP_BYTES:
            yield bytes(group)
            group.clear()
    if group:
        yield bytes(group)


class _Sink(BytesIO):
    """A write-only file whose content is taken out piece by piece; the writer never seeks."""

    def __init__(self) -> None:
        super().__init__()
        self._offset = 0

    def tell(self) -> int:
        return self._offset + super().tell()

    def take(self) -> bytes:
        data = self.getvalue()
        self._offset += len(data)
        self.seek(0)
        self.truncate()
        return data

    def close(self) -> None:
        """Does nothing: the writer closes its file before the last piece is taken."""
