"""Typed values out of foreign JSON: what is not exactly as annotated is refused, and named.

A field too many is as wrong as one too few, `true` is not a number, and a time has a time zone, so
that whoever gets the value need not look again.
"""

from collections.abc import Mapping
from dataclasses import is_dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints


class Undecodable(ValueError):
    """A field is of another kind than the annotation says; the text begins with its name."""


def decode(kind: Any, value: Any, name: str) -> Any:  # pylint: disable=too-many-return-statements
    """Return the value as `kind` (a dataclass, Mapping, tuple, plain type); raises Undecodable."""
    kind = getattr(kind, "__supertype__", kind)  # a NewType is its type
    if is_dataclass(kind):
        return _decode_dataclass(kind, value, name)
    if kind is Any:
        return value
    origin, args = get_origin(kind) or kind, get_args(kind)
    if origin is UnionType:
        return None if value is None else decode(args[0], value, name)
    if origin is Mapping or origin is dict:
        items = _expect(dict, value, name).items()
        return {key: decode(args[1], each, f"{name}.{key}") for key, each in items}
    if origin is tuple:
        return _decode_tuple(args, _expect(list, value, name), name)
    if issubclass(kind, datetime):
        return _decode_time(_expect(str, value, name), name)
    if issubclass(kind, StrEnum):
        return _decode_word(kind, _expect(str, value, name), name)
    return _expect(kind, value, name)


def _decode_dataclass(kind: Any, value: Any, name: str) -> Any:
    hints = _hints(kind)
    if odd := _expect(dict, value, name).keys() ^ hints.keys():
        raise Undecodable(f"{name}: {', '.join(sorted(odd))}")
    return kind(**{each: decode(hint, value[each], each) for each, hint in hints.items()})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _decode_tuple(args: tuple[Any, ...], values: list[Any], name: str) -> tuple[Any, ...]:
    kinds = args[:1] * len(values) if args[1:] == (...,) else args
    if len(kinds) != len(values):
        raise Undecodable(f"{name} has {len(values)} parts, not {len(kinds)}")
    return tuple(decode(kind, value, name) for kind, value in zip(kinds, values, strict=True))


def _decode_time(text: str, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Undecodable(f"{name} is not a time") from error
    if moment.tzinfo is None:
        raise Undecodable(f"{name} has no time zone")
    return moment


def _decode_word(kind: type[StrEnum], text: str, name: str) -> StrEnum:
    try:
        return kind(text)
    except ValueError as error:
        raise Undecodable(f"{name} is none of {', '.join(kind)}") from error


def _expect(kind: type, value: Any, name: str) -> Any:
    # isinstance would take true for a number
    if type(value) is not kind:  # pylint: disable=unidiomatic-typecheck
        raise Undecodable(f"{name} is {type(value).__name__}, not {kind.__name__}")
    return value
