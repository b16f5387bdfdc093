"""The root of the data API: what is served, as a Swagger 2.0 document like PostgREST's."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from isobase_platform import __version__
from isobase_services.database.query.schema_cache import Column, Function, Relation, SchemaCache
from isobase_services.database.rest.request import ApiRequest

__all__ = ["openapi_response"]

_FORMATS = {
    "integer": ("smallint", "integer", "bigint"),
    "number": ("real", "double precision", "numeric"),
    "boolean": ("boolean",),
}


def openapi_response(request: ApiRequest, cache: SchemaCache, base_url: str) -> Response:
    """The document of the request's schema."""
    relations = [one for key, one in sorted(cache.relations.items()) if key[0] == request.schema]
    functions = [found[0] for key, found in sorted(cache.functions.items()) if key[0] == request.schema]
    document = {
        "swagger": "2.0",
        "info": {"title": "Isobase data API", "version": __version__, "description": ""},
        "host": base_url.partition("://")[2],
        "basePath": "/rest/v1/",
        "schemes": [base_url.partition("://")[0]],
        "consumes": ["application/json", "application/vnd.pgrst.object+json", "text/csv"],
        "produces": ["application/json", "application/vnd.pgrst.object+json", "text/csv"],
        "paths": {
            **{f"/{one.name}": _relation_path(one) for one in relations},
            **{f"/rpc/{one.name}": _function_path(one) for one in functions},
        },
        "definitions": {one.name: _definition(one) for one in relations},
    }
    return Response(json.dumps(document), media_type="application/openapi+json; charset=utf-8")


def _relation_path(relation: Relation) -> dict[str, Any]:
    filters = [{"name": name, "in": "query", "type": "string"} for name in relation.columns]
    answer = {"200": {"description": "OK"}}
    path: dict[str, Any] = {"get": {"tags": [relation.name], "parameters": filters, "responses": answer}}
    if relation.is_insertable:
        path["post"] = {"tags": [relation.name], "responses": {"201": {"description": "Created"}}}
    if relation.is_updatable:
        path["patch"] = {
            "tags": [relation.name],
            "parameters": filters,
            "responses": {"204": {"description": "No Content"}},
        }
    if relation.is_deletable:
        path["delete"] = {
            "tags": [relation.name],
            "parameters": filters,
            "responses": {"204": {"description": "No Content"}},
        }
    return path


def _function_path(function: Function) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": [argument.name for argument in function.arguments if argument.is_required],
        "properties": {argument.name: {"format": argument.type} for argument in function.arguments},
    }
    body = {"name": "args", "in": "body", "required": True, "schema": schema}
    return {
        "post": {
            "tags": [f"(rpc) {function.name}"],
            "description": function.comment or "",
            "parameters": [body],
            "responses": {"200": {"description": "OK"}},
        }
    }


def _definition(relation: Relation) -> dict[str, Any]:
    return {
        "type": "object",
        "description": relation.comment or "",
        "required": [name for name, column in relation.columns.items() if not column.is_nullable],
        "properties": {name: _property(column) for name, column in relation.columns.items()},
    }


def _property(column: Column) -> dict[str, Any]:
    kind = next((kind for kind, types in _FORMATS.items() if column.base_type in types), "string")
    if column.base_type.endswith("[]"):
        kind = "array"
    found: dict[str, Any] = {"format": column.type, "type": kind}
    if column.comment:
        found["description"] = column.comment
    if column.enum:
        found["enum"] = list(column.enum)
    if column.default is not None:
        found["default"] = column.default
    return found
