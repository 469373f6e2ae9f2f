"""Typed values out of foreign JSON: what is not exactly as annotated is refused, and named.

A field too many is as wrong as one too few, `true` is not a number, and a time has a time zone and
one form, so that whoever gets the value need not look again.
"""

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache, partial
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

Decoder = Callable[[Any, str], Any]
PLAIN = frozenset({str, int, float, bool})  # what JSON has as it is; many are looked at in one go


class Undecodable(ValueError):
    """A field is of another kind than the annotation says; the text begins with its name."""


def decode(kind: Any, value: Any, name: str) -> Any:
    """Return the value as `kind` (a dataclass, Mapping, tuple, plain type); raises Undecodable."""
    return _decoder(kind)(value, name)


@cache
def _decoder(kind: Any) -> Decoder:  # pylint: disable=too-many-return-statements
    """What decodes a kind, put together once: a catalog has a hundred values in each manifest."""
    kind = getattr(kind, "__supertype__", kind)  # a NewType is its type
    if is_dataclass(kind):
        return _dataclass(kind)
    if kind is Any:
        return lambda value, name: value
    origin, args = get_origin(kind) or kind, get_args(kind)
    if origin is UnionType:
        present = _decoder(args[0])
        return lambda value, name: None if value is None else present(value, name)
    if origin is Mapping or origin is dict:
        return _mapping(args[1])
    if origin is tuple:
        return _tuple(args)
    if issubclass(kind, datetime):
        return lambda value, name: _decode_time(_expect(str, value, name), name)
    if issubclass(kind, StrEnum):
        return lambda value, name: _decode_word(kind, _expect(str, value, name), name)
    return partial(_expect, kind)


def _dataclass(kind: Any) -> Decoder:
    hints = get_type_hints(kind)
    fields = {name: _decoder(hint) for name, hint in hints.items()}
    kinds = [*hints.values()] if PLAIN.issuperset(hints.values()) else None

    def decoded(value: Any, name: str) -> Any:
        if odd := _expect(dict, value, name).keys() ^ fields.keys():
            raise Undecodable(f"{name}: {', '.join(sorted(odd))}")
        if kinds and [type(value[each]) for each in fields] == kinds:
            return kind(**value)
        return kind(**{each: field(value[each], each) for each, field in fields.items()})

    return decoded


def _mapping(kind: Any) -> Decoder:
    item = _decoder(kind)

    def decoded(value: Any, name: str) -> Any:
        found = _expect(dict, value, name)
        if kind in PLAIN and {*map(type, found.values())} <= {kind}:
            return found
        try:
            return {key: item(each, name) for key, each in found.items()}
        except Undecodable:  # once more for its name: all names together cost more than the rest
            return {key: item(each, f"{name}.{key}") for key, each in found.items()}

    return decoded


def _tuple(args: tuple[Any, ...]) -> Decoder:
    parts = [_decoder(arg) for arg in args if arg is not ...]
    if args[1:] == (...,):
        each_like = parts[0]
        return lambda value, name: tuple(
            each_like(each, name) for each in _expect(list, value, name)
        )
    kinds = [*args] if PLAIN.issuperset(args) else None

    def decoded(value: Any, name: str) -> Any:
        if len(_expect(list, value, name)) != len(parts):
            raise Undecodable(f"{name} has {len(value)} parts, not {len(parts)}")
        if kinds and [*map(type, value)] == kinds:
            return tuple(value)
        return tuple(part(each, name) for part, each in zip(parts, value, strict=True))

    return decoded


def _decode_time(text: str, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Undecodable(f"{name} is not a time") from error
    if moment.tzinfo is None:
        raise Undecodable(f"{name} has no time zone")
    if moment.isoformat() != text:
        raise Undecodable(f"{name} is a time in another form")
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
