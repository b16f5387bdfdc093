"""Which overload a call means, and what is passed to it. Source: PostgREST v14 ``Plan.hs`` findProc; docs, functions."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from isobase_services.database.query.ast import Filter, LogicTree
from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.schema_cache import Function, SchemaCache
from isobase_services.database.rest.request import ApiRequest, parse_payload

__all__ = ["ChosenCall", "choose_function"]

_WHOLE_BODY_TYPES = {
    "application/json": ("json", "jsonb"),
    "text/plain": ("text",),
    "text/xml": ("xml",),
    "application/octet-stream": ("bytea",),
}


@dataclass(slots=True, frozen=True)
class ChosenCall:
    """A function, the argument names in the payload (a JSON object), and the filters that are left for its result."""

    function: Function
    names: tuple[str, ...]
    payload: str
    is_whole_body: bool
    filters: Mapping[tuple[str, ...], tuple[Filter | LogicTree, ...]]


def choose_function(cache: SchemaCache, request: ApiRequest, body: bytes, content_type: str | None) -> ChosenCall:
    """The one function that fits. Raises PGRST202 (404) for none and PGRST203 (300) for several."""
    overloads = cache.functions.get((request.schema, request.target.name), ())
    if request.method in {"GET", "HEAD"}:
        return _from_query(overloads, request, cache)
    kind = (content_type or "application/json").partition(";")[0].strip().lower()
    whole = _whole_body(overloads, kind)
    if kind in {"text/plain", "text/xml", "application/octet-stream"}:
        if whole is None:
            raise _not_found(cache, request, [])
        return ChosenCall(whole, (), body.decode("utf-8", "replace"), True, request.filters)
    payload, keys, size = (
        ("{}", [], -1) if not body else parse_payload(body, content_type, needs_equal_keys=request.columns is None)
    )
    names = list(request.columns) if request.columns is not None else keys
    if size == -1:
        fitting = [one for one in overloads if _fits(one, names)]
        if fitting:
            chosen = _only(fitting, request)
            return ChosenCall(chosen, tuple(names), payload, False, request.filters)
    if whole is not None:
        return ChosenCall(whole, (), payload, True, request.filters)
    raise _not_found(cache, request, names)


def _from_query(overloads: Sequence[Function], request: ApiRequest, cache: SchemaCache) -> ChosenCall:
    given = [name for name, _ in request.arguments]
    # A parameter that is an argument's name is an argument, though it reads like a filter too.
    fitting = []
    for one in overloads:
        own = {argument.name for argument in one.arguments}
        plain = [name for name in given if not _reads_as_filter(request, name)]
        names = [name for name in given if name in own]
        if all(name in own for name in plain) and _fits(one, names):
            fitting.append((one, names))
    if not fitting:
        raise _not_found(cache, request, [name for name in given if not _reads_as_filter(request, name)])
    most = max(len(set(names)) for _, names in fitting)
    best = [(one, names) for one, names in fitting if len(set(names)) == most]
    chosen = _only([one for one, _ in best], request)
    names = best[0][1]
    variadic = {argument.name for argument in chosen.arguments if argument.is_variadic}
    values: dict[str, object] = {}
    for name, text in request.arguments:
        if name in names:
            if name in variadic:
                values.setdefault(name, [])
                values[name].append(text)  # type: ignore[attr-defined]
            else:
                values[name] = text
    filters = dict(request.filters)
    left = tuple(one for one in filters.get((), ()) if not (isinstance(one, Filter) and one.field.name in values))
    filters[()] = left
    # Arguments come as text; json_to_record takes PostgreSQL's own text form of any type out of a JSON string.
    return ChosenCall(chosen, tuple(values), json.dumps(values), False, filters)


def _reads_as_filter(request: ApiRequest, name: str) -> bool:
    return any(isinstance(one, Filter) and one.field.name == name for one in request.filters.get((), ()))


def _fits(function: Function, names: Sequence[str]) -> bool:
    own = {argument.name for argument in function.arguments}
    required = {argument.name for argument in function.arguments if argument.is_required and not argument.is_variadic}
    return set(names) <= own and required <= set(names)


def _whole_body(overloads: Sequence[Function], kind: str) -> Function | None:
    types = _WHOLE_BODY_TYPES.get(kind, ())
    return next(
        (
            one
            for one in overloads
            if len(one.arguments) == 1 and one.arguments[0].name == "" and one.arguments[0].type in types
        ),
        None,
    )


def _only(fitting: Sequence[Function], request: ApiRequest) -> Function:
    if len(fitting) == 1:
        return fitting[0]
    described = ", ".join(
        f"{request.schema}.{one.name}({', '.join(f'{a.name} => {a.type}' for a in one.arguments)})" for one in fitting
    )
    raise RequestError(
        f"Could not choose the best candidate function between: {described}",
        code="PGRST203",
        status=300,
        hint="Try renaming the parameters or the function itself in the database so function overloading can be resolved",
    )


def _not_found(cache: SchemaCache, request: ApiRequest, names: Sequence[str]) -> RequestError:
    schema, name = request.schema, request.target.name
    shown = f"({', '.join(sorted(names))})" if names else ""
    wanted = (
        f"with parameter{'s' if len(names) > 1 else ''} {', '.join(sorted(names))}" if names else "without parameters"
    )
    others = {known for within, known in cache.functions if within == schema}
    if name in others:
        signature = ", ".join(argument.name for argument in cache.functions[schema, name][0].arguments)
        hint: str | None = f"Perhaps you meant to call the function {schema}.{name}({signature})"
    else:
        near = difflib.get_close_matches(name, others, n=1, cutoff=0.5)
        hint = f"Perhaps you meant to call the function {schema}.{near[0]}" if near else None
    or_body = ""
    if request.method == "POST":
        or_body = " or with a single unnamed json/jsonb parameter"
    return RequestError(
        f"Could not find the function {schema}.{name}{shown or ' without parameters'} in the schema cache"
        if shown
        else f"Could not find the function {schema}.{name} without parameters in the schema cache",
        code="PGRST202",
        status=404,
        details=f"Searched for the function {schema}.{name} {wanted}{or_body}, but no matches were found in the schema cache.",
        hint=hint,
    )
