"""The text of a table, unpacked and decoded; spreadsheets and other binary tables are refused."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from reid_audit.cohort.formats import GZIP
from reid_audit.errors import CohortError

TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
"""Endings of tables that list films."""
BINARY = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".numbers", ".parquet", ".feather")
"""Endings of tables that are no text."""
LARGEST = 256 * 2**20
"""Bytes that a packed table may unpack to: millions of rows, and no more memory than there is."""
_BINARY_HEADS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"PAR1", b"ARROW1")


def is_table(path: Path) -> bool:
    """Whether ``path`` is called as tables are, those that have to be saved as CSV first among them."""
    return path.name.casefold().endswith((*TABLES, *BINARY))


def table_text(path: Path) -> str:
    """What is written in a table: UTF-8 with or without a mark, UTF-16, or Windows-1252; gzip is unpacked.

    Raises CohortError where it cannot be read, is a spreadsheet, or unpacks to more than ``LARGEST`` bytes.
    """
    try:
        data = path.read_bytes()
        if data.startswith(GZIP):
            data = _unpacked(path)
        if data.startswith(_BINARY_HEADS) or path.suffix.casefold() in BINARY:
            raise _spreadsheet(path)
        return _decoded(data)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise CohortError(f"cannot read {path}", closest=str(error), remedy="save the table as UTF-8 CSV") from error


def _decoded(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    if b"\x00" in data[:2]:
        return data.decode("utf-16-be" if data[0] == 0 else "utf-16-le")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def _unpacked(path: Path) -> bytes:
    with gzip.open(path) as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise CohortError(
            f"{path} unpacks to more than {LARGEST // 2**20} MiB",
            closest="a table has a row for each film, and no film inside",
            remedy="unpack it and give the .csv, or leave out columns that are not needed",
        )
    return data


def _spreadsheet(path: Path) -> CohortError:
    return CohortError(
        f"{path} is a spreadsheet or another table that is no text",
        closest="CSV: comma, semicolon or tab, packed with gzip or not",
        remedy="save the sheet that names the films as CSV (UTF-8), ids as text, and give that file",
    )
