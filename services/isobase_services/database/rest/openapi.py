"""Tables and functions as a Swagger 2.0 document. Pure: parts of the schema cache in, a value of JSON types out.

Source: PostgREST v14 ``Response/OpenAPI.hs`` for which facts stand where; generators of typed clients read it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias
from urllib.parse import urlsplit

from isobase_platform import __version__
from isobase_platform.sql import quote_identifier
from isobase_services.database.query.schema_cache import (
    Argument,
    Column,
    Function,
    Relation,
    Relationship,
)

__all__ = ["OPENAPI", "describe"]

OPENAPI = "application/openapi+json"

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
Relationships: TypeAlias = Mapping[tuple[str, str], Sequence[Relationship]]

_OBJECTS = ("application/vnd.pgrst.object+json;nulls=stripped", "application/vnd.pgrst.object+json")
_MEDIA = ("application/json", *_OBJECTS, "text/csv")
_JSON_TYPES = {
    "boolean": "boolean",
    "smallint": "integer",
    "integer": "integer",
    "bigint": "integer",
    "numeric": "number",
    "real": "number",
    "double precision": "number",
    "json": None,
    "jsonb": None,
}
_FORMATS = {
    "smallint": "int32",
    "integer": "int32",
    "bigint": "int64",
    "bpchar": "character",
    "bpchar[]": "character[]",
}
_LENGTH = re.compile(r"character(?: varying)?\((\d+)\)")
_SECURITY: Mapping[str, Json] = {
    "securityDefinitions": {
        "JWT": {
            "type": "apiKey",
            "name": "Authorization",
            "in": "header",
            "description": 'Add the token prepending "Bearer " (without quotes) to it',
        }
    },
    "security": [{"JWT": []}],
}
_DEFAULT_PORTS = {"http": 80, "https": 443}


def describe(
    relations: Sequence[Relation],
    functions: Sequence[Function],
    relationships: Relationships,
    *,
    comment: str | None,
    url: str,
    path: Sequence[str],
    has_security: bool = False,
) -> dict[str, Json]:
    """The document.

    ``comment`` of the schema gives the title (its first line) and the description (the rest); ``url`` is where clients
    reach the API, its path included; ``path`` are the schemas whose types functions' arguments name without their schema, as
    PostgreSQL shows them to whoever has these on the search path; ``has_security`` adds that tokens travel in Authorization.
    Of several functions of one name the last stands, as a path can be described once.
    """
    place = urlsplit(url)
    host = f"[{place.hostname}]" if ":" in (place.hostname or "") else place.hostname
    title, description = _summary(comment)
    return {
        "swagger": "2.0",
        "info": {
            "version": __version__,
            "title": title or "Isobase data API",
            "description": (
                "Tables, views and functions of the exposed schema" if comment is None else description or ""
            ),
        },
        "host": f"{host}:{place.port or _DEFAULT_PORTS.get(place.scheme, 80)}",
        "basePath": place.path or "/",
        "schemes": [place.scheme],
        "consumes": _MEDIA,
        "produces": _MEDIA,
        "paths": {
            "/": {"get": _root_operation()},
            **{f"/{one.name}": _relation_path(one) for one in relations},
            **{f"/rpc/{one.name}": _function_path(_relative(one, path)) for one in functions},
        },
        "definitions": {one.name: _definition(one, relationships.get(one.key, ())) for one in relations},
        "parameters": {
            **_COMMON_PARAMETERS,
            **{name: found for one in relations for name, found in _relation_parameters(one).items()},
        },
        "externalDocs": {
            "description": "PostgREST Documentation",
            "url": "https://postgrest.org/en/v14/references/api.html",
        },
        **(_SECURITY if has_security else {}),
    }


def _summary(comment: str | None) -> tuple[str | None, str | None]:
    """The first line of a comment, and what follows it."""
    if comment is None:
        return None, None
    first, _, rest = comment.partition("\n")
    return first, rest.lstrip("\n") or None


def _present(**members: Json) -> dict[str, Json]:
    """The members that have a value; a trailing underscore keeps a name from being a word of Python's."""
    return {name.rstrip("_"): value for name, value in members.items() if value is not None}


def _root_operation() -> dict[str, Json]:
    return {
        "tags": ["Introspection"],
        "summary": "OpenAPI description (this document)",
        "produces": [OPENAPI, "application/json"],
        "responses": {"200": {"description": "OK"}},
    }


# -- parameters -----------------------------------------------------------------------------------------------------------


def _text_parameter(name: str, place: str, description: str | None, **more: Json) -> dict[str, Json]:
    return _present(name=name, in_=place, type="string", required=False, description=description, **more)


_COMMON_PARAMETERS: Mapping[str, Json] = {
    "preferParams": _text_parameter("Prefer", "header", "Preference"),
    "preferReturn": _text_parameter(
        "Prefer", "header", "Preference", enum=["return=representation", "return=minimal", "return=none"]
    ),
    "preferCount": _text_parameter("Prefer", "header", "Preference", enum=["count=none"]),
    "preferPost": _text_parameter(
        "Prefer",
        "header",
        "Preference",
        enum=[
            "return=representation",
            "return=minimal",
            "return=none",
            "resolution=ignore-duplicates",
            "resolution=merge-duplicates",
        ],
    ),
    "select": _text_parameter("select", "query", "Filtering Columns"),
    "on_conflict": _text_parameter("on_conflict", "query", "On Conflict"),
    "order": _text_parameter("order", "query", "Ordering"),
    "range": _text_parameter("Range", "header", "Limiting and Pagination"),
    "rangeUnit": _text_parameter("Range-Unit", "header", "Limiting and Pagination", default="items"),
    "offset": _text_parameter("offset", "query", "Limiting and Pagination"),
    "limit": _text_parameter("limit", "query", "Limiting and Pagination"),
}


def _relation_parameters(relation: Relation) -> dict[str, Json]:
    name = relation.name
    body: Json = {
        "name": name,
        "in": "body",
        "required": False,
        "description": name,
        "schema": {"$ref": f"#/definitions/{name}"},
    }
    filters = {
        f"rowFilter.{name}.{column.name}": _text_parameter(column.name, "query", column.comment)
        for column in relation.columns.values()
    }
    return {f"body.{name}": body, **filters}


def _references(names: Sequence[str]) -> list[Json]:
    return [{"$ref": f"#/parameters/{name}"} for name in names]


# -- paths ----------------------------------------------------------------------------------------------------------------


def _relation_path(relation: Relation) -> dict[str, Json]:
    name = relation.name
    summary, description = _summary(relation.comment)
    about = _present(tags=[name], summary=summary, description=description)
    filters = [f"rowFilter.{name}.{column}" for column in relation.columns]
    rows: Json = {"description": "OK", "schema": {"type": "array", "items": {"$ref": f"#/definitions/{name}"}}}
    path: dict[str, Json] = {
        "get": {
            **about,
            "parameters": _references(
                [*filters, "select", "order", "range", "rangeUnit", "offset", "limit", "preferCount"]
            ),
            "responses": {"200": rows, "206": {"description": "Partial Content"}},
        }
    }
    if not (relation.is_insertable or relation.is_updatable or relation.is_deletable):
        return path
    no_content: Json = {"204": {"description": "No Content"}}
    path["post"] = {
        **about,
        "parameters": _references([f"body.{name}", "select", "preferPost"]),
        "responses": {"201": {"description": "Created"}},
    }
    path["delete"] = {**about, "parameters": _references([*filters, "preferReturn"]), "responses": no_content}
    path["patch"] = {
        **about,
        "parameters": _references([*filters, f"body.{name}", "preferReturn"]),
        "responses": no_content,
    }
    return path


def _relative(function: Function, path: Sequence[str]) -> Function:
    """The function with the types of its arguments as they read with ``path`` as the search path."""
    arguments = tuple(replace(one, type=_unqualified(one.type, path)) for one in function.arguments)
    return replace(function, arguments=arguments)


def _unqualified(sql_type: str, path: Sequence[str]) -> str:
    for schema in path:
        for prefix in (f"{schema}.", f"{quote_identifier(schema)}."):
            if sql_type.startswith(prefix):
                return sql_type.removeprefix(prefix)
    return sql_type


def _function_path(function: Function) -> dict[str, Json]:
    summary, description = _summary(function.comment)
    about = _present(
        tags=[f"(rpc) {function.name}"],
        summary=summary,
        description=description,
        produces=["application/json", *_OBJECTS],
        responses={"200": {"description": "OK"}},
    )
    schema = _present(
        type="object",
        description=function.comment,
        required=[one.name for one in function.arguments if one.is_required] or None,
        properties={one.name: _typed(one.type) for one in function.arguments} or None,
    )
    arguments: Json = {"name": "args", "in": "body", "required": True, "schema": schema}
    path: dict[str, Json] = {"post": {**about, "parameters": [arguments, *_references(["preferParams"])]}}
    if not function.is_volatile:
        path["get"] = about | _present(parameters=[_query_argument(one) for one in function.arguments] or None)
    return path


def _query_argument(argument: Argument) -> dict[str, Json]:
    about = _present(name=argument.name, in_="query", required=argument.is_required)
    if argument.is_variadic:
        items = _typed(argument.type.removesuffix("[]"))
        return {**about, "type": "array", "items": items, "collectionFormat": "multi"}
    # An array travels as PostgreSQL's {a,b} in one parameter, JSON as its text.
    kind = _json_type(argument.type)
    return {**about, "type": "string" if kind in {"array", None} else kind, "format": _format(argument.type)}


# -- definitions ----------------------------------------------------------------------------------------------------------


def _definition(relation: Relation, relationships: Sequence[Relationship]) -> dict[str, Json]:
    return _present(
        description=relation.comment,
        type="object",
        required=[column.name for column in relation.columns.values() if not column.is_nullable] or None,
        properties={column.name: _property(column, relation, relationships) for column in relation.columns.values()},
    )


def _property(column: Column, relation: Relation, relationships: Sequence[Relationship]) -> dict[str, Json]:
    length = _LENGTH.fullmatch(column.type)
    return {
        **_typed(column.base_type),
        **_present(
            description=_notes(column, relation, relationships),
            default=_default(column),
            enum=list(column.enum) or None,
            maxLength=int(length.group(1)) if length else None,
        ),
    }


def _notes(column: Column, relation: Relation, relationships: Sequence[Relationship]) -> str | None:
    """The column's comment, and what generators look for: primary and foreign keys in upstream's words."""
    notes = ["This is a Primary Key.<pk/>"] if column.name in relation.primary_key else []
    target = _foreign_key(column.name, relationships)
    if target is not None:
        table, key = target
        notes.append(f"This is a Foreign Key to `{table}.{key}`.<fk table='{table}' column='{key}'/>")
    if not notes:
        return column.comment
    before = f"{column.comment}\n\n" if column.comment else ""
    return before + "\n".join(["Note:", *notes])


def _foreign_key(column: str, relationships: Sequence[Relationship]) -> tuple[str, str] | None:
    """(table, column) that ``column`` alone refers to; tables before views."""
    for one in sorted(relationships, key=lambda one: one.target_is_view):
        if one.is_reference and len(one.pairs) == 1 and one.pairs[0][0] == column:
            return one.target[1], one.pairs[0][1]
    return None


def _typed(sql_type: str) -> dict[str, Json]:
    kind = _json_type(sql_type)
    items = _present(type=_json_type(sql_type.removesuffix("[]"))) if kind == "array" else None
    return _present(format=_format(sql_type), type=kind, items=items)


def _json_type(sql_type: str) -> str | None:
    """The JSON type of a value; None for one that may be anything."""
    if sql_type in _JSON_TYPES:
        return _JSON_TYPES[sql_type]
    return "array" if sql_type.endswith("[]") else "string"


def _format(sql_type: str) -> str:
    return _FORMATS.get(sql_type, sql_type)


def _default(column: Column) -> Json:
    """A constant default as a JSON value, an expression of a text-like column as its text; nothing else can be said."""
    if column.default is None:
        return None
    if _json_type(column.base_type) == "string":
        cast = f"::{_format(column.base_type)}"
        return column.default.removesuffix(cast).strip("'") if column.default.endswith(cast) else column.default
    try:
        value: Json = json.loads(column.default)
    except ValueError:
        return None
    return value
