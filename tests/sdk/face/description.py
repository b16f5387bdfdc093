"""Describe a package's public face as plain facts, so that two packages can be compared.

A fact is a dotted place (``postgrest.exceptions.APIError.json``) with a text for each thing about it that a caller can
notice: kind, bases, parameters with their defaults, types, fields, members, values. Types are written in one form
however they were spelled (``Optional[str]`` and ``str | None`` are ``None | str``), and classes by their bare names.
"""

from __future__ import annotations

import ast
import contextlib
import enum
import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, is_dataclass, replace
from dataclasses import fields as dataclass_fields

import pydantic
import typing_extensions

__all__ = ["Parameter", "Place", "canonical", "places_of"]

SPECIAL_METHODS = frozenset(
    {
        "__init__",
        "__enter__",
        "__exit__",
        "__aenter__",
        "__aexit__",
        "__call__",
        "__await__",
        "__eq__",
        "__iter__",
        "__aiter__",
    }
)
# One type under several names of the standard library.
SAME = {
    "Dict": "dict",
    "List": "list",
    "Tuple": "tuple",
    "Set": "set",
    "Type": "type",
    "NoneType": "None",
    "Optional": "Union",
}


@dataclass(slots=True, frozen=True)
class Parameter:
    """One parameter: ``kind`` as inspect names it, ``default`` as text (None: it must be given)."""

    name: str
    kind: str
    default: str | None
    type: str


@dataclass(slots=True, frozen=True)
class Place:
    """What stands at one dotted place: facts by name, and for callables their parameters in order.

    ``owner``: the class of a method or property.
    """

    kind: str
    facts: dict[str, str]
    parameters: tuple[Parameter, ...] | None = None
    returns: str = ""
    owner: str = ""


def canonical(annotation: object) -> str:
    """Write a type in one form, whatever module its parts come from and however it was spelled."""
    if annotation is inspect.Parameter.empty:
        return "?"
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, str | typing.ForwardRef):
        return _written(annotation if isinstance(annotation, str) else annotation.__forward_arg__)
    if isinstance(annotation, typing.TypeVar):
        return "T"
    if annotation is ... or annotation is typing.Any:
        return "..." if annotation is ... else "Any"
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return canonical(typing.get_args(annotation)[0])
    if origin in (typing.Required, typing.NotRequired, typing_extensions.Required, typing_extensions.NotRequired):
        return canonical(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        parts: set[str] = set()
        for argument in typing.get_args(annotation):
            parts.update(canonical(argument).split(" | "))
        return " | ".join(sorted(parts))
    if origin in (typing.Literal, typing_extensions.Literal):
        if typing.get_args(annotation) == (None,):
            return "None"
        return f"Literal[{', '.join(sorted(repr(value) for value in typing.get_args(annotation)))}]"
    if isinstance(annotation, list):
        return f"[{', '.join(map(canonical, annotation))}]"
    if origin is not None:
        name = getattr(origin, "__name__", str(origin))
        return f"{SAME.get(name, name)}[{', '.join(canonical(part) for part in typing.get_args(annotation))}]"
    if isinstance(annotation, typing_extensions.TypeAliasType):
        return annotation.__name__
    name = str(getattr(annotation, "__name__", None) or str(annotation).rpartition(".")[2])
    return SAME.get(name, name)


def _written(annotation: str) -> str:
    """Write a type in the same form that is known by its text alone (a name that only type checkers import)."""

    def form(node: ast.expr) -> str:
        if isinstance(node, ast.BinOp):
            return " | ".join(sorted({part for side in (node.left, node.right) for part in form(side).split(" | ")}))
        if isinstance(node, ast.Subscript):
            name, inner = form(node.value), node.slice
            arguments = [form(part) for part in (inner.elts if isinstance(inner, ast.Tuple) else [inner])]
            if name in ("Optional", "Union"):
                return " | ".join(sorted({*arguments, *(["None"] if name == "Optional" else [])}))
            return f"{name}[{', '.join(arguments)}]"
        if isinstance(node, ast.Constant):
            return form(ast.parse(node.value, mode="eval").body) if isinstance(node.value, str) else str(node.value)
        if isinstance(node, ast.List):
            return f"[{', '.join(form(part) for part in node.elts)}]"
        name = node.attr if isinstance(node, ast.Attribute) else ast.unparse(node)
        return name if name == "Optional" else SAME.get(name, name)

    return form(ast.parse(annotation, mode="eval").body)


def _default(value: object) -> str | None:
    if value is inspect.Parameter.empty:
        return None
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, str | int | float | bool | None | tuple | list | dict | frozenset):
        return repr(value)
    return f"<{type(value).__name__}>"


def _hints(function: Callable[..., object]) -> dict[str, object]:
    hints = dict(getattr(function, "__annotations__", {}))
    with contextlib.suppress(NameError, TypeError, AttributeError):
        return typing.get_type_hints(function, include_extras=True)
    scope = getattr(function, "__globals__", {})
    for name, hint in hints.items():
        if isinstance(hint, str):
            with contextlib.suppress(NameError, TypeError, AttributeError):
                hints[name] = eval(hint, scope)
    return hints


def _callable(function: Callable[..., object], kind: str) -> Place | None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    hints = _hints(function)
    parameters = tuple(
        Parameter(
            name=parameter.name,
            kind=parameter.kind.name,
            default=_default(parameter.default),
            type=canonical(hints.get(parameter.name, parameter.annotation)),
        )
        for parameter in signature.parameters.values()
        if parameter.name not in ("self", "cls")
    )
    asynchronous = inspect.iscoroutinefunction(inspect.unwrap(function))
    return Place(
        kind=kind,
        facts={"awaited": str(asynchronous)},
        parameters=parameters,
        returns=canonical(hints.get("return", signature.return_annotation)),
    )


def _fields(cls: type) -> dict[str, str]:
    """Give the fields of a pydantic model, a typed dict, a dataclass or an enum; empty for other classes."""
    if issubclass(cls, enum.Enum):
        return {f"member {member.name}": repr(member.value) for member in cls}
    if issubclass(cls, pydantic.BaseModel):
        return {
            f"field {name}": f"{canonical(field.annotation)}{'' if field.is_required() else f' = {_default(field.default)}'}"
            for name, field in cls.model_fields.items()
        }
    if typing_extensions.is_typeddict(cls):
        try:
            hints = typing_extensions.get_type_hints(cls)
        except NameError:
            hints = dict(cls.__annotations__)
        required: frozenset[str] = getattr(cls, "__required_keys__", frozenset())
        return {
            f"key {name}": f"{canonical(hint)}{'' if name in required else ' (optional)'}"
            for name, hint in hints.items()
        }
    if is_dataclass(cls):
        return {f"field {field.name}": canonical(field.type) for field in dataclass_fields(cls)}
    return {}


def _bases(cls: type) -> str:
    return " > ".join(
        base.__name__
        for base in cls.__mro__[1:]
        if base not in (object, typing.Generic, typing.Protocol) and not base.__name__.startswith("_")
    )


def _class(place: str, cls: type) -> Iterator[tuple[str, Place]]:
    yield place, Place(kind="class", facts={"bases": _bases(cls), **_fields(cls)})
    library = (pydantic.BaseModel, enum.Enum, Exception, dict, str, object)
    owned: dict[str, object] = {}
    for base in reversed(cls.__mro__):
        if base not in library and base.__module__.split(".")[0] not in (
            "builtins",
            "typing",
            "pydantic",
            "enum",
            "httpx",
        ):
            owned.update(vars(base))
    for name, value in sorted(owned.items()):
        if name.startswith("_") and name not in SPECIAL_METHODS:
            continue
        if name == "__init__" and (_fields(cls) or "__init__" not in vars(cls)):
            continue
        where = f"{place}.{name}"
        if isinstance(value, staticmethod | classmethod):
            described = _callable(value.__func__, "method")
        elif isinstance(value, property):
            hints = _hints(value.fget) if value.fget else {}
            described = Place(
                kind="property", facts={}, returns=canonical(hints.get("return", inspect.Parameter.empty))
            )
        elif inspect.isfunction(value):
            described = _callable(value, "method")
        else:
            continue
        if described is not None:
            yield where, replace(described, owner=cls.__name__)


def _module(module: types.ModuleType) -> Iterator[tuple[str, Place]]:
    listed = set(getattr(module, "__all__", ()))
    for name in sorted(set(vars(module)) | listed):
        value = getattr(module, name, None)
        if name.startswith("_") or inspect.ismodule(value) or value is None:
            continue
        own = getattr(value, "__module__", None)
        place = f"{module.__name__}.{name}"
        if inspect.isclass(value):
            if own == module.__name__:
                yield from _class(place, value)
            elif name in listed or str(own).split(".")[0] == module.__name__.split(".")[0]:
                yield place, Place(kind="name of", facts={"what": value.__name__})
        elif inspect.isfunction(value):
            if own == module.__name__:
                described = _callable(value, "function")
                if described is not None:
                    yield place, described
            elif name in listed or str(own).split(".")[0] == module.__name__.split(".")[0]:
                yield place, Place(kind="name of", facts={"what": value.__name__})
        else:
            yield from _value(place, value)


def _value(place: str, value: object) -> Iterator[tuple[str, Place]]:
    if isinstance(value, str | int | float | bool | frozenset | tuple | dict | list):
        yield place, Place(kind="value", facts={"value": repr(value)})
    elif typing.get_origin(value) is not None:
        yield place, Place(kind="type", facts={"type": canonical(value)})
    elif isinstance(value, typing.TypeVar):
        yield place, Place(kind="type", facts={})


def places_of(package: str) -> dict[str, Place]:
    """Give every public place of a package and of the modules below it, by dotted name."""
    places: dict[str, Place] = {}
    root = importlib.import_module(package)
    names = [package, *(found.name for found in pkgutil.walk_packages(root.__path__, prefix=f"{package}."))]
    for name in names:
        places.update(_module(importlib.import_module(name)))
    return places
