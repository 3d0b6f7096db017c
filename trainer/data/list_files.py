"""Files that list images with their labels: `path label` a line, CSV, JSON, JSON lines, iNaturalist's annotations.

Each is parsed in one pass into arrow columns, so that half a million rows cost their texts and no Python objects.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json

from ..errors import DataError

PATH_COLUMNS = ("path", "file_name", "image", "filename")
LABEL_COLUMNS = ("label", "labels", "class")
LINE = r"^(?P<path>.*\S)[ \t]+(?P<label>-?\d{1,18})\s*$"  # paths may hold blanks, so the last one separates
WHOLE_NUMBER = r"^(0|-?[1-9]\d{0,17})$"
ANNOTATIONS = pa.schema(
    {
        "images": pa.list_(pa.struct({"id": pa.int64(), "file_name": pa.string()})),
        "annotations": pa.list_(pa.struct({"image_id": pa.int64(), "category_id": pa.int64()})),
        "categories": pa.list_(pa.struct({"id": pa.int64(), "name": pa.string()})),
    }
)


class ImageList(NamedTuple):
    """A list of images, as it stands in its file.

    Attributes:
        file: that was read.
        paths: (N,) strings.
        labels: (N,) int64, or strings that are names of classes.
        names: (C,) of the classes, where the file has them beside the labels; else None.
        row_name: what a row is called in messages.
        first: number of the first row, in messages.
    """

    file: Path
    paths: pa.Array
    labels: pa.Array
    names: list[str] | None = None
    row_name: str = "line"
    first: int = 1

    def where(self, row: int) -> str:
        """The place of a row, for messages."""
        return f"{self.file}, {self.row_name} {self.first + row}"

    def refuse_first(self, wrong: pa.Array, what: str) -> None:
        """Refuse the list at the first row that is marked as wrong.

        Args:
            wrong: (N,) booleans.
            what: is wrong and what to do; `{path}` and `{label}` are the row's.
        """
        row = pc.index(wrong, True).as_py()
        if row >= 0:
            told = what.format(path=self.paths[row].as_py(), label=self.labels[row].as_py())
            raise DataError(f"{self.where(row)}: {told}")


def read_list(file: Path, image_column: str | None = None, label_column: str | None = None) -> ImageList:
    """Read one list.

    Args:
        file: .csv, .json, .jsonl, or any other ending for lines `path label`; each of them perhaps with .gz.
        image_column: of the paths in a table; default: the one called path, file_name, image or filename.
        label_column: of the labels in a table; default: the one called label, labels or class.

    Raises:
        DataError: it cannot be read, a line is malformed, a column is missing, a path or label is empty, a path comes
            twice; with the file, the line and what to do.
    """
    kind = file.with_suffix("").suffix if file.suffix == ".gz" else file.suffix
    content = _content(file)
    try:
        if kind == ".csv":
            found = _table(file, _csv(content), image_column, label_column, first=2)
        elif kind in (".jsonl", ".ndjson"):
            found = _table(file, _json_lines(content), image_column, label_column)
        elif kind == ".json" and content.lstrip()[:1] == b"{":
            found = _annotations(file, content)
        elif kind == ".json":
            found = _table(file, _json_rows(content), image_column, label_column, row_name="entry")
        elif image_column or label_column:
            raise DataError(f"{file}: lines of a path and a label have no columns; leave out the names of columns")
        else:
            found = _lines(file, content)
    except (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else " ".join(str(error).split())[:300]
        raise DataError(f"{file} cannot be read as {kind or 'text'}: {reason}; correct it") from error
    if len(found.paths) == 0:
        raise DataError(f"{file}: the list has no rows; check the file")
    _refuse_twice(found)
    return found


def _content(file: Path) -> bytes:
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as opened:
            return opened.read()
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(f"{file} cannot be read ({reason}); check the file") from error


def _lines(file: Path, content: bytes) -> ImageList:
    text = content.decode("utf-8-sig").rstrip()
    lines = pc.split_pattern(pa.array([text], pa.large_string()), "\n").values if text else pa.array([], pa.string())
    parts = pc.extract_regex(lines, LINE)
    if parts.null_count:
        row = pc.index(parts.is_null(), True).as_py()
        shown = lines[row].as_py()[:80]
        raise DataError(f"{file}, line {row + 1}: {shown!r} is not a path, a blank and a whole number; correct it")
    paths, labels = parts.field("path"), parts.field("label")
    return ImageList(file, paths.cast(pa.string()), labels.cast(pa.string()).cast(pa.int64()))


def _csv(content: bytes) -> pa.Table:
    # All as text: what looks like numbers, dates or "NA" may be the name of a class.
    names = pa_csv.open_csv(pa.BufferReader(content)).schema.names
    options = pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    return pa_csv.read_csv(
        pa.BufferReader(content),
        read_options=pa_csv.ReadOptions(use_threads=False),  # whose errors know the row
        parse_options=pa_csv.ParseOptions(newlines_in_values=False),
        convert_options=options,
    )


def _json_lines(content: bytes) -> pa.Table:
    return pa_json.read_json(pa.BufferReader(content), read_options=pa_json.ReadOptions(use_threads=False))


def _one_object(content: bytes, schema: pa.Schema | None = None) -> dict[str, pa.Array]:
    """A JSON object of lists of objects, as arrays of structs; of a schema's fields alone where there is one."""
    ignored = {"explicit_schema": schema, "unexpected_field_behavior": "ignore"} if schema else {}
    table = pa_json.read_json(
        pa.BufferReader(content),
        read_options=pa_json.ReadOptions(block_size=len(content) + 1, use_threads=False),
        parse_options=pa_json.ParseOptions(newlines_in_values=True, **ignored),
    )
    return {name: table[name].combine_chunks().flatten() for name in table.column_names}


def _json_rows(content: bytes) -> pa.Table:
    rows = _one_object(b'{"rows":' + content + b"}")["rows"]
    if not pa.types.is_struct(rows.type):
        raise pa.ArrowInvalid("a list of objects is needed, one for each image")
    return pa.table({field.name: rows.field(field.name) for field in rows.type})


def _table(file: Path, table: pa.Table, image: str | None, label: str | None, **place) -> ImageList:
    image = _column(file, table, image, PATH_COLUMNS, "--image_column")
    label = _column(file, table, label, LABEL_COLUMNS, "--label_column")
    paths, labels = (table[name].combine_chunks() for name in (image, label))
    if not pa.types.is_string(paths.type):
        raise DataError(f"{file}: column '{image}' holds {paths.type}, not paths; choose with --image_column")
    if not (pa.types.is_integer(labels.type) or pa.types.is_string(labels.type)):
        raise DataError(
            f"{file}: column '{label}' holds {labels.type}; one class name or whole number per image is needed"
        )
    found = ImageList(file, paths, labels, **{"first": 1, **place})
    for name, values in ((image, paths), (label, labels)):
        empty = pc.is_null(values)
        if pa.types.is_string(values.type):
            empty = pc.or_(empty, pc.equal(pc.utf8_trim_whitespace(values.fill_null("")), ""))
        found.refuse_first(empty, f"nothing in column '{name}'; fill it in or remove the row")
    if pa.types.is_string(labels.type) and len(labels):
        is_number = pc.all(pc.match_substring_regex(labels, WHOLE_NUMBER)).as_py()
        labels = labels.cast(pa.int64()) if is_number else labels
    return found._replace(labels=labels if pa.types.is_string(labels.type) else labels.cast(pa.int64()))


def _column(file: Path, table: pa.Table, given: str | None, known: tuple[str, ...], flag: str) -> str:
    present = table.column_names
    found = [given] if given else [name for name in known if name in present]
    if len(found) != 1 or found[0] not in present:
        what = f"no column '{given}'" if given else f"several of the columns {', '.join(found)}" if found else ""
        what = what or f"no column called {', '.join(known)}"
        raise DataError(f"{file}: {what}; columns present: {', '.join(present)}; choose with {flag}")
    return found[0]


def _annotations(file: Path, content: bytes) -> ImageList:
    """iNaturalist's own: images by id, and for each image the id of its category."""
    found = _one_object(content, ANNOTATIONS)
    lacking = [name for name in ANNOTATIONS.names if len(found[name]) == 0]
    if lacking:
        raise DataError(
            f"{file}: it has no {' and no '.join(lacking)}; a list of objects with a path and a label each, or "
            f"iNaturalist's {', '.join(ANNOTATIONS.names)} are needed"
        )
    images, annotations, categories = (found[name] for name in ANNOTATIONS.names)
    rows = pc.index_in(images.field("id"), value_set=annotations.field("image_id"))
    listed = ImageList(file, images.field("file_name"), annotations.field("category_id").take(rows), None, "image")
    listed.refuse_first(pc.is_null(listed.paths), "it has no file_name; add it")
    listed.refuse_first(pc.is_null(listed.labels), "no annotation has the category of {path}; add one")
    if len(annotations) != len(images):
        raise DataError(
            f"{file}: {len(annotations)} annotations of {len(images)} images; each image needs one category"
        )
    return listed._replace(names=_category_names(file, categories))


def _category_names(file: Path, categories: pa.Array) -> list[str] | None:
    """In the order of their ids; none where they do not tell the classes apart."""
    order = pc.sort_indices(categories.field("id"))
    ids, names = categories.field("id").take(order).to_pylist(), categories.field("name").take(order).to_pylist()
    if ids != list(range(len(ids))):
        raise DataError(f"{file}: the ids of the categories are not 0 to {len(ids) - 1}; number them so")
    return names if len(set(names)) == len(names) and None not in names else None


def _refuse_twice(found: ImageList) -> None:
    encoded = found.paths.dictionary_encode()
    if len(encoded.dictionary) == len(found.paths):
        return
    seen: dict[int, int] = {}
    for row, code in enumerate(encoded.indices.to_pylist()):
        if code in seen:
            other = found.first + seen[code]
            raise DataError(
                f"{found.where(row)}: {found.paths[row].as_py()} stands in {found.row_name} {other} too; remove one"
            )
        seen[code] = row
