"""Which overload a call means, and what is passed to it. Source: PostgREST v14 ``Plan.hs`` findProc; docs, functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.fuzzy import PARAMETERS_SCORE, nearest
from isobase_services.database.query.parameters import Parameters
from isobase_services.database.query.schema_cache import Function, SchemaCache
from isobase_services.database.query.sql_write import call_sql, call_whole_sql
from isobase_services.database.rest.payload import Body
from isobase_services.database.rest.request import ApiRequest

__all__ = ["choose_function", "chosen_call_sql"]

_SINGLE_ARGUMENTS = {"text/plain": "text", "text/xml": "xml", "application/octet-stream": "bytea"}


def choose_function(cache: SchemaCache, request: ApiRequest, body: Body | None) -> Function:
    """The one function that fits the names given; ``body`` None is a call by GET.

    A function with one unnamed argument of the body's type is the second choice. Raises PGRST202 (404) for none and PGRST203
    (300) for several.
    """
    overloads = cache.functions.get((request.schema, request.target.name), ())
    names = frozenset(name for name, _ in request.arguments) if body is None else frozenset(body.keys)
    is_raw = body is not None and body.raw is not None
    named = [one for one in overloads if _fits(one, names, is_raw=is_raw)]
    if len(named) == 1:
        return named[0]
    if named:
        raise _ambiguous(named)
    unnamed = [one for one in overloads if body is not None and _takes_whole(one, body)]
    if len(unnamed) == 1:
        return unnamed[0]
    if unnamed:
        raise _ambiguous(unnamed)
    raise _not_found(cache, request, sorted(names), body, overloads)


def chosen_call_sql(
    function: Function, request: ApiRequest, body: Body | None, parameters: Parameters, returning: Sequence[str]
) -> str:
    """The SELECT of ``returning`` over the call of ``function`` with what the request passes."""
    if body is None:
        values = _texts(function, request.arguments)
        return call_sql(function, tuple(values), values, parameters, returning=returning)
    if len(function.arguments) == 1 and function.arguments[0].name == "":
        return call_whole_sql(function, body.json if body.raw is None else body.raw, parameters, returning)
    if body.form:
        return call_sql(function, body.keys, _texts(function, body.form), parameters, returning=returning)
    return call_sql(function, body.keys, body.json, parameters, is_object=body.is_object, returning=returning)


def _texts(function: Function, given: Sequence[tuple[str, str]]) -> Mapping[str, str | list[str]]:
    """Values by name; a variadic argument takes all of its name, any other the last."""
    variadic = {argument.name for argument in function.arguments if argument.is_variadic}
    values: dict[str, str | list[str]] = {}
    for name, text in given:
        before = values.get(name)
        if name in variadic:
            values[name] = [*before, text] if isinstance(before, list) else [text]
        else:
            values[name] = text
    return values


def _fits(function: Function, names: frozenset[str], *, is_raw: bool) -> bool:
    if not function.arguments:
        return not names and not is_raw
    own = {argument.name for argument in function.arguments}
    required = {argument.name for argument in function.arguments if argument.is_required}
    return required <= names <= own


def _takes_whole(function: Function, body: Body) -> bool:
    return (
        len(function.arguments) == 1
        and function.arguments[0].name == ""
        and function.arguments[0].type in body.argument_types
    )


def _rank(function: Function) -> tuple[object, ...]:
    """Upstream's order of overloads."""
    arguments = [(argument.name, argument.type) for argument in function.arguments]
    return len(arguments), function.comment is not None, function.comment or "", arguments


def _ambiguous(fitting: Sequence[Function]) -> RequestError:
    described = ", ".join(
        f"{one.schema}.{one.name}({', '.join(f'{a.name} => {a.type}' for a in one.arguments)})"
        for one in sorted(fitting, key=_rank)
    )
    return RequestError(
        f"Could not choose the best candidate function between: {described}",
        code="PGRST203",
        status=300,
        hint="Try renaming the parameters or the function itself in the database so function overloading can be resolved",
    )


def _not_found(
    cache: SchemaCache, request: ApiRequest, names: Sequence[str], body: Body | None, overloads: Sequence[Function]
) -> RequestError:
    function = f"{request.schema}.{request.target.name}"
    listed = ", ".join(names)
    single = _SINGLE_ARGUMENTS.get(body.kind) if body is not None else None
    shown = "" if single else f"({listed})" if names else " without parameters"
    if single:
        searched = f" with a single unnamed {single} parameter"
    else:
        searched = f" with parameter{'s' if len(names) > 1 else ''} {listed}" if names else " without parameters"
        if body is not None and body.kind == "application/json":
            searched += " or with a single unnamed json/jsonb parameter"
    return RequestError(
        f"Could not find the function {function}{shown} in the schema cache",
        code="PGRST202",
        status=404,
        details=f"Searched for the function {function}{searched}, but no matches were found in the schema cache.",
        hint=None if single else _hint(cache, request, names, overloads),
    )


def _hint(cache: SchemaCache, request: ApiRequest, names: Sequence[str], overloads: Sequence[Function]) -> str | None:
    """The nearest parameter list of the function, or the nearest function of the schema."""
    if overloads:
        lists = (_parameter_list([argument.name for argument in one.arguments]) for one in overloads)
        near = nearest(_parameter_list(names), lists, PARAMETERS_SCORE)
        found = f"{request.target.name}{near}" if near else None
    else:
        found = nearest(request.target.name, (known for within, known in cache.functions if within == request.schema))
    return f"Perhaps you meant to call the function {request.schema}.{found}" if found else None


def _parameter_list(names: Sequence[str]) -> str:
    return f"({', '.join(sorted(names))})"
