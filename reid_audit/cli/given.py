"""Commands take what was given to them as one typed record."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from reid_audit.records import Record


def given_as(record: type[Record]) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Let click call a command with one ``record`` of its arguments and options, which are its fields by name.

    It stands below click's own decorators; what those hand over by position follows the record. Whatever click has let
    through and the record refuses is a mistake of the program, not of the user: pydantic's ValidationError.
    """

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @wraps(command)
        def called(*passed: object, **given: object) -> int:
            return command(record.model_validate(given), *passed)

        return called

    return decorate
