"""A TypeScript module of the shape that ``supabase gen types`` writes, so that supabase-js infers rows, arguments and
embeds.

Source: the output of postgres-meta's generator and what supabase-js's type parser reads of it. What is not a name of
that shape (how the helper types are composed) is our own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from isobase_deploy.typegen.catalog import (
    Argument,
    Catalogue,
    Column,
    Function,
    PgType,
    Relation,
    Relationship,
    name_order,
)

__all__ = ["typescript_module"]

POSTGREST_VERSION = "14.1"
"""Which release's language the data API speaks; supabase-js asks it for what it may offer."""

NUMBERS = frozenset({"int2", "int4", "int8", "float4", "float8", "numeric"})
TEXTS = frozenset(
    {
        "bytea",
        "bpchar",
        "varchar",
        "date",
        "text",
        "citext",
        "time",
        "timetz",
        "timestamp",
        "timestamptz",
        "uuid",
        "vector",
    }
    | {"interval"}
)
BARE_ARGUMENTS = frozenset({"json", "jsonb", "text"})
"""The types that the one argument without a name may have."""
WIDTH = 80
BETWEEN = "\x1f"
"""Stands between an object type's members until it is known whether they share a line."""

HELPERS = """
type DatabaseWithoutInternals = Omit<Database, "__InternalSupabase">
type SchemaName = keyof DatabaseWithoutInternals
type InSchema = { schema: SchemaName }
type DefaultSchemaName = Extract<SchemaName, "public">
type Part<S extends SchemaName, K extends "Tables" | "Views" | "Enums" | "CompositeTypes"> =
  DatabaseWithoutInternals[S][K]
type Readable<S extends SchemaName> = Part<S, "Tables"> & Part<S, "Views">
type Shape<T, K extends PropertyKey> = T extends Record<K, infer Found> ? Found : never

export type Tables<
  NameOrSchema extends keyof Readable<DefaultSchemaName> | InSchema,
  Name extends NameOrSchema extends InSchema ? keyof Readable<NameOrSchema["schema"]> : never = never,
> = NameOrSchema extends InSchema
  ? Shape<Readable<NameOrSchema["schema"]>[Name], "Row">
  : NameOrSchema extends keyof Readable<DefaultSchemaName>
    ? Shape<Readable<DefaultSchemaName>[NameOrSchema], "Row">
    : never

export type TablesInsert<
  NameOrSchema extends keyof Part<DefaultSchemaName, "Tables"> | InSchema,
  Name extends NameOrSchema extends InSchema ? keyof Part<NameOrSchema["schema"], "Tables"> : never = never,
> = NameOrSchema extends InSchema
  ? Shape<Part<NameOrSchema["schema"], "Tables">[Name], "Insert">
  : NameOrSchema extends keyof Part<DefaultSchemaName, "Tables">
    ? Shape<Part<DefaultSchemaName, "Tables">[NameOrSchema], "Insert">
    : never

export type TablesUpdate<
  NameOrSchema extends keyof Part<DefaultSchemaName, "Tables"> | InSchema,
  Name extends NameOrSchema extends InSchema ? keyof Part<NameOrSchema["schema"], "Tables"> : never = never,
> = NameOrSchema extends InSchema
  ? Shape<Part<NameOrSchema["schema"], "Tables">[Name], "Update">
  : NameOrSchema extends keyof Part<DefaultSchemaName, "Tables">
    ? Shape<Part<DefaultSchemaName, "Tables">[NameOrSchema], "Update">
    : never

export type Enums<
  NameOrSchema extends keyof Part<DefaultSchemaName, "Enums"> | InSchema,
  Name extends NameOrSchema extends InSchema ? keyof Part<NameOrSchema["schema"], "Enums"> : never = never,
> = NameOrSchema extends InSchema
  ? Part<NameOrSchema["schema"], "Enums">[Name]
  : NameOrSchema extends keyof Part<DefaultSchemaName, "Enums">
    ? Part<DefaultSchemaName, "Enums">[NameOrSchema]
    : never

export type CompositeTypes<
  NameOrSchema extends keyof Part<DefaultSchemaName, "CompositeTypes"> | InSchema,
  Name extends NameOrSchema extends InSchema ? keyof Part<NameOrSchema["schema"], "CompositeTypes"> : never = never,
> = NameOrSchema extends InSchema
  ? Part<NameOrSchema["schema"], "CompositeTypes">[Name]
  : NameOrSchema extends keyof Part<DefaultSchemaName, "CompositeTypes">
    ? Part<DefaultSchemaName, "CompositeTypes">[NameOrSchema]
    : never
"""


def typescript_module(catalogue: Catalogue) -> str:
    """Write the module of a catalogue's schemas."""
    writer = _Writer(catalogue)
    lines = [
        "export type Json =",
        *(
            f"  | {kind}"
            for kind in ("string", "number", "boolean", "null", "{ [key: string]: Json | undefined }", "Json[]")
        ),
        "",
        "export type Database = {",
        "  // What supabase-js asks the types for: createClient<Database>(url, key) needs no further option",
        "  __InternalSupabase: {",
        f'    PostgrestVersion: "{POSTGREST_VERSION}"',
        "  }",
    ]
    for schema in catalogue.schemas:
        lines += _indented(writer.schema(schema), 1)
    lines += ["}", *HELPERS.splitlines(), "", "export const Constants = {"]
    for schema in catalogue.schemas:
        lines += _indented(writer.constants(schema), 1)
    return "\n".join([*lines, "} as const", ""]).replace(BETWEEN, "; ")


def _indented(lines: Iterable[str], depth: int) -> list[str]:
    return [f"{'  ' * depth}{line}" if line else line for line in lines]


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_$][A-Za-z0-9_$]*", name) else json.dumps(name, ensure_ascii=False)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _block(head: str, body: Sequence[str], empty: str = "[_ in never]: never") -> list[str]:
    return [f"{head}: {{", *_indented(body or [empty], 1), "}"]


def _union(head: str, parts: Sequence[str], depth: int) -> list[str]:
    """One line where it fits beside its indentation, else a part on each."""
    line = f"{head}: {' | '.join(parts)}"
    if len(line) + 2 * depth <= WIDTH or len(parts) == 1:
        return [line]
    return [f"{head}:", *(f"  | {part}" for part in parts)]


class _Writer:
    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def schema(self, schema: str) -> list[str]:
        tables, views, functions = self._catalogue.of_schema(schema)
        functions = [function for function in functions if self._is_callable(function)]
        enums = [_union(_key(one.name), list(map(_text, one.labels)), 3) for one in self._catalogue.enums(schema)]
        composites = [self._composite(one, schema) for one in self._catalogue.composites(schema)]
        by_name = [(name, list(group)) for name, group in groupby(functions, key=lambda one: one.name)]
        return _block(
            _key(schema),
            [
                *_block("Tables", [line for one in tables for line in self._relation(one, functions)]),
                *_block("Views", [line for one in views for line in self._relation(one, functions)]),
                *_block("Functions", [line for name, group in by_name for line in self._functions(name, group)]),
                *_block("Enums", [line for one in enums for line in one]),
                *_block("CompositeTypes", [line for one in composites for line in one]),
            ],
        )

    def constants(self, schema: str) -> list[str]:
        lines = []
        for one in self._catalogue.enums(schema):
            line = f"{_key(one.name)}: [{', '.join(map(_text, one.labels))}],"
            if len(line) + 6 > WIDTH:
                lines += [f"{_key(one.name)}: [", *(f"  {_text(label)}," for label in one.labels), "],"]
            else:
                lines.append(line)
        if not lines:
            return [f"{_key(schema)}: {{", "  Enums: {},", "},"]
        return [f"{_key(schema)}: {{", "  Enums: {", *_indented(lines, 2), "  },", "},"]

    def _composite(self, one: PgType, schema: str) -> list[str]:
        return _block(
            _key(one.name),
            [f"{_key(name)}: {self._nullable(self.type(oid, schema), True)}" for name, oid in one.attributes],
        )

    def type(self, oid: int, schema: str) -> str:
        """The TypeScript type of a PostgreSQL type, as it is written in ``schema``."""
        found = self._catalogue.resolved(oid)
        if found is None:
            return "unknown"
        if found.element is not None:
            inner = self.type(found.element, schema)
            return f"{inner}[]" if re.fullmatch(r"[\w$]+", inner) or inner.startswith("Database[") else f"({inner})[]"
        name = found.name
        if found.schema == "pg_catalog" or name in TEXTS:
            plain = {"bool": "boolean", "json": "Json", "jsonb": "Json", "void": "undefined"}.get(name)
            if name == "record":
                return "Record<string, unknown>"
            return plain or ("number" if name in NUMBERS else "string" if name in TEXTS else "unknown")
        among = found.schema in self._catalogue.schemas
        where = f"Database[{_text(found.schema)}]"
        if found.labels:
            return f'{where}["Enums"][{_text(name)}]' if among else " | ".join(map(_text, found.labels))
        if found.attributes:
            return f'{where}["CompositeTypes"][{_text(name)}]' if among else "unknown"
        relation = self._catalogue.relation_of(found.oid)
        if relation is not None:
            return f'{where}["{"Views" if relation.is_view else "Tables"}"][{_text(name)}]["Row"]'
        return "unknown"

    @staticmethod
    def _nullable(kind: str, is_nullable: bool) -> str:
        return f"{kind} | null" if is_nullable and kind != "unknown" else kind

    def _column(self, column: Column, schema: str, *, optional: bool, nullable: bool) -> str:
        kind = self._nullable(self.type(column.type, schema), nullable)
        return f"{_key(column.name)}{'?' if optional else ''}: {kind}"

    def _relation(self, relation: Relation, functions: Sequence[Function]) -> list[str]:
        columns = sorted(relation.columns, key=lambda one: name_order(one.name))
        schema = relation.schema
        row = [self._column(one, schema, optional=False, nullable=one.is_nullable) for one in columns]
        row += [
            f"{_key(one.name)}: {self._nullable(self._returned(one), True)}"
            for one in functions
            if len(one.inputs) == 1
            and not one.inputs[0].name
            and self._catalogue.relation_of(one.inputs[0].type) is relation
        ]
        body = _block("Row", row)
        if not relation.is_view or relation.is_updatable:
            body += _block("Insert", [self._written(one, relation, is_update=False) for one in columns])
            body += _block("Update", [self._written(one, relation, is_update=True) for one in columns])
        keys = [
            one
            for one in self._catalogue.relationships
            if (one.schema, one.relation) == (schema, relation.name) and one.referenced_schema == schema
        ]
        if keys:
            body += ["Relationships: [", *_indented([line for one in keys for line in self._relationship(one)], 1), "]"]
        else:
            body.append("Relationships: []")
        return _block(_key(relation.name), body)

    def _written(self, column: Column, relation: Relation, *, is_update: bool) -> str:
        if column.identity == "a" or (relation.is_view and not column.is_updatable):
            return f"{_key(column.name)}?: never"
        if relation.is_view:
            return self._column(column, relation.schema, optional=True, nullable=True)
        optional = is_update or column.is_nullable or bool(column.identity) or column.has_default
        return self._column(column, relation.schema, optional=optional, nullable=column.is_nullable)

    @staticmethod
    def _relationship(one: Relationship) -> list[str]:
        return [
            "{",
            f"  foreignKeyName: {_text(one.name)}",
            f"  columns: {json.dumps(one.columns, ensure_ascii=False)}",
            f"  isOneToOne: {'true' if one.is_one_to_one else 'false'}",
            f"  referencedRelation: {_text(one.referenced_relation)}",
            f"  referencedColumns: {json.dumps(one.referenced_columns, ensure_ascii=False)}",
            "},",
        ]

    def _is_bare(self, argument: Argument) -> bool:
        found = self._catalogue.types.get(argument.type)
        return found is not None and found.schema == "pg_catalog" and found.name in BARE_ARGUMENTS

    def _is_callable(self, function: Function) -> bool:
        """Whether the data API can call it, or embed or compute by it: arguments have names, or it is one of a known
        kind.
        """
        inputs = function.inputs
        if all(argument.name for argument in inputs):
            return True
        if all(argument.name or (argument.has_default and self._is_bare(argument)) for argument in inputs):
            return True
        return len(inputs) == 1 and (
            self._is_bare(inputs[0]) or self._catalogue.relation_of(inputs[0].type) is not None
        )

    def _functions(self, name: str, group: Sequence[Function]) -> list[str]:
        signatures = [self._signature(one, group) for one in group]
        if len(signatures) == 1:
            return [f"{_key(name)}: {signatures[0][0]}", *signatures[0][1:]]
        lines = [f"{_key(name)}:"]
        for signature in signatures:
            lines += [f"  | {signature[0]}", *_indented(signature[1:], 2)]
        return lines

    def _signature(self, function: Function, group: Sequence[Function]) -> list[str]:
        given = [
            f"{_key(one.name)}{'?' if one.has_default else ''}: {self.type(one.type, function.schema)}"
            for one in sorted(function.inputs, key=lambda one: name_order(one.name))
        ]
        arguments = f"{{ {BETWEEN.join(given)} }}" if given else "never"
        error = self._conflict(function, group) or self._row_error(function)
        target = self._catalogue.relation_of(function.returns)
        many = function.returns_set and not (function.rows <= 1 and target is not None)
        returns = f"{{ error: true }} & {_text(error)}" if error else self._returned(function)
        if many:
            returns = (
                f"{returns}[]" if re.fullmatch(r"[\w$]+|Database\[.*\]|\{ [^{}]* \}", returns) else f"({returns})[]"
            )
        body = [*_wrapped("Args", arguments), *_wrapped("Returns", returns), *self._set_of(function, target)]
        one_line = f"{{ {'; '.join(body)} }}"
        if len(body) == 2 and len(one_line) + 10 + len(function.name) <= WIDTH:
            return [one_line]
        return ["{", *_indented(body, 1), "}"]

    def _returned(self, function: Function) -> str:
        columns = [argument for argument in function.arguments if argument.mode == "t"]
        if columns:
            return (
                "{ "
                + BETWEEN.join(f"{_key(one.name)}: {self.type(one.type, function.schema)}" for one in columns)
                + " }"
            )
        relation = self._catalogue.relation_of(function.returns)
        if relation is not None and relation.schema == function.schema:
            columns_ = sorted(relation.columns, key=lambda one: name_order(one.name))
            shown = [self._column(one, relation.schema, optional=False, nullable=one.is_nullable) for one in columns_]
            return "{ " + BETWEEN.join(shown) + " }"
        return self.type(function.returns, function.schema)

    def _set_of(self, function: Function, target: Relation | None) -> list[str]:
        if target is None:
            return []
        source = self._catalogue.relation_of(function.arguments[0].type) if len(function.arguments) == 1 else None
        one = function.rows <= 1 or not function.returns_set
        return [
            "SetofOptions: {",
            f"  from: {_text(source.name if source is not None else '*')}",
            f"  to: {_text(target.name)}",
            f"  isOneToOne: {'true' if one else 'false'}",
            f"  isSetofReturn: {'true' if function.returns_set else 'false'}",
            "}",
        ]

    def _row_error(self, function: Function) -> str | None:
        """A computed field is no function to call: calling it is an error that the types tell of."""
        inputs = function.inputs
        if (
            len(inputs) == 1
            and not inputs[0].name
            and self._catalogue.relation_of(inputs[0].type) is not None
            and self._catalogue.relation_of(function.returns) is None
        ):
            return (
                f"the function {function.schema}.{function.name} with parameter or with a single unnamed json/jsonb"
                " parameter, but no matches were found in the schema cache"
            )
        return None

    def _conflict(self, function: Function, group: Sequence[Function]) -> str | None:
        """Overloads between which the data API cannot choose: one argument of one name and different types."""
        if len(function.inputs) != 1 or not function.inputs[0].name:
            return None
        alike = [one for one in group if len(one.inputs) == 1 and one.inputs[0].name == function.inputs[0].name]
        if len({one.inputs[0].type for one in alike}) < 2:
            return None
        shown = [
            f"{one.schema}.{one.name}({one.inputs[0].name} => {self._catalogue.types[one.inputs[0].type].name})"
            for one in sorted(alike, key=lambda one: one.inputs[0].type)
        ]
        return (
            f"Could not choose the best candidate function between: {', '.join(shown)}. Try renaming the parameters or the"
            " function itself in the database so function overloading can be resolved"
        )


def _wrapped(head: str, text: str) -> list[str]:
    """An object type over several lines where it is long."""
    if len(text) + 20 <= WIDTH or not text.startswith("{ ") or "error: true" in text:
        return [f"{head}: {text}"]
    inner, _, end = text[2:].rpartition(" }")
    return [f"{head}: {{", *(f"  {part}" for part in inner.split(BETWEEN)), f"}}{end}"]
