"""Tables of a TOML file: read, their keys known, their values of the type that a record asks for."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from reid_audit.errors import PolicyError
from reid_audit.records.earlier import RENAMED

R = TypeVar("R", bound=BaseModel)


def content_of(path: Path) -> bytes:
    """The bytes of a file. Raises PolicyError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise PolicyError(
            f"cannot read {path}: {error.strerror or error}",
            closest="reid-audit.toml in the working directory",
            remedy="check the path, or write one with 'reid-audit policy init'",
        ) from error


def toml_of(content: bytes, path: Path) -> dict[str, Any]:
    """The tables in the bytes of ``path``. Raises PolicyError where they are not TOML."""
    try:
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyError(
            f"{path} is not TOML: {error}", closest="TOML 1.0", remedy="compare with 'reid-audit policy init'"
        ) from error


def known_keys(table: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    """Refuse a key of the table ``where`` that is not ``known``. Raises PolicyError with the nearest known key."""
    for key in table:
        if key not in known:
            refuse_earlier(key, where)
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            place = f" in {where}" if where else ""
            raise PolicyError(
                f"unknown key '{key}'{place}",
                closest=near[0] if near else ", ".join(known),
                remedy="correct the key; 'reid-audit policy init' writes every known one",
            )


def refuse_earlier(key: str, where: str) -> None:
    """Refuse a key that version 1 knew, with the name it has now."""
    if key in RENAMED:
        present = RENAMED[key]
        raise PolicyError(
            f"'{key}'{f' in {where}' if where else ''} is now called '{present}'",
            closest=present,
            remedy=f"write {present}: the same figure, the same limits",
        )


def table_at(value: object, where: str) -> dict[str, Any]:
    """``value``, which stands at ``where``. Raises PolicyError where it is not a table."""
    if not isinstance(value, dict):
        raise malformed(f"{where} is not a table", f"[{where}]")
    return value


def malformed(what: str, closest: str) -> PolicyError:
    """The refusal of something that the file of ``policy init`` shows how to write."""
    return PolicyError(what, closest=closest, remedy="compare with 'reid-audit policy init'")


def build(kind: type[R], values: dict[str, Any], where: str) -> R:
    """A record of the values of ``where``. Raises PolicyError with the first value that it does not take."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise PolicyError(
            f"{where}{'.' + key if key else ''}: {first['msg']}",
            closest=f"given: {first.get('input')!r}",
            remedy="compare with 'reid-audit policy init'",
        ) from error
