"""A Python module of the database's types: rows as pydantic models, TypedDicts or dataclasses, what is inserted and
updated as TypedDicts.

Class names are those of ``supabase gen types --lang python`` (schema and name in capitals, ``PublicBooks``,
``PublicBooksInsert``, ``PublicBooksUpdate``); added are the functions' arguments and results, the foreign keys, and
columns whose names are none of Python's.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from pydantic import BaseModel

from isobase_deploy.typegen.catalog import Catalogue, Column, Function, Relation

__all__ = ["Rows", "python_module"]

Rows = Literal["pydantic", "typeddict", "dataclass"]

PLAIN = {
    "bool": "bool",
    **dict.fromkeys(("int2", "int4", "int8", "oid"), "int"),
    **dict.fromkeys(("float4", "float8"), "float"),
    "numeric": "decimal.Decimal",
    "bytea": "Bytea",
    "date": "datetime.date",
    "time": "datetime.time",
    **dict.fromkeys(("timestamp", "timestamptz"), "datetime.datetime"),
    "uuid": "uuid.UUID",
    **dict.fromkeys(("json", "jsonb"), "Any"),
    "void": "None",
    "record": "dict[str, Any]",
    **dict.fromkeys(
        [
            "bpchar",
            "varchar",
            "text",
            "citext",
            "name",
            "char",
            "timetz",
            "interval",
            "money",
            "inet",
            "cidr",
            "macaddr",
            "macaddr8",
            "bit",
            "varbit",
            "xml",
            "tsvector",
            "tsquery",
            "jsonpath",
            "point",
            "line",
            "lseg",
            "box",
            "path",
            "polygon",
            "circle",
            "regclass",
            "regtype",
            "regproc",
            "int4range",
            "int8range",
            "numrange",
            "tsrange",
            "tstzrange",
            "daterange",
            "int4multirange",
            "int8multirange",
            "nummultirange",
            "tsmultirange",
            "tstzmultirange",
            "datemultirange",
            "pg_lsn",
            "vector",
        ],
        "str",
    ),
}
IMPORTS = {"decimal.": "import decimal", "datetime.": "import datetime", "uuid.": "import uuid"}
TYPING = ("Annotated", "Any", "Final", "Literal", "NamedTuple", "NotRequired", "TypeAlias", "TypedDict")
RESERVED = frozenset(dir(BaseModel))
WIDTH = 100
HEADLINE = (
    '"""Types of the database, written by `isobase gen types --lang python`: write them anew, do not change them."""'
)


def python_module(catalogue: Catalogue, rows: Rows = "pydantic") -> str:
    """Write the module of a catalogue's schemas; ``rows``: what a row is."""
    body = _Writer(catalogue, rows).body()
    text = "\n".join(body)
    head = [HEADLINE, ""]
    head += ["from __future__ import annotations", ""]
    standard = [line for mark, line in IMPORTS.items() if re.search(rf"\b{re.escape(mark)}", text)]
    names = [name for name in TYPING if re.search(rf"\b{name}\b", text)]
    if re.search(r"^@dataclass\b", text, re.MULTILINE):
        used = "dataclass, field" if re.search(r"= field\(", text) else "dataclass"
        standard.append(f"from dataclasses import {used}")
    head += [
        *sorted(standard, key=lambda line: (line.startswith("from "), line)),
        f"from typing import {', '.join(names)}",
        "",
    ]
    pydantic = [name for name in ("BaseModel", "ConfigDict", "Field") if re.search(rf"\b{name}\(|\({name}\)", text)]
    third = [f"from pydantic import {', '.join(pydantic)}"] if pydantic else []
    if pydantic:
        third.append("")
    if re.search(r"\bBytea\b", text):
        third = [*third, "from isobase.postgrest import Bytea", ""]
    return "\n".join([*head, *third, *body]).rstrip("\n") + "\n"


def class_name(*parts: str) -> str:
    """Put names together as a class is named: ``public``, ``book_tags`` -> ``PublicBookTags``."""
    words = [word for part in parts for word in re.split(r"[^a-zA-Z0-9]+", part) if word]
    name = "".join(word[0].upper() + word[1:] for word in words)
    return name if name and not name[0].isdigit() else f"T{name}"


def field_name(column: str, taken: set[str], reserved: Collection[str] = RESERVED) -> str:
    """Name a field: the column, or where it is ``reserved`` or no name of Python's, one as near as can be."""
    name = re.sub(r"\W", "_", column).strip("_") or "column"
    if name[0].isdigit():
        name = f"c{name}"
    while keyword.iskeyword(name) or name in reserved or name in taken:
        name = f"{name}_"
    taken.add(name)
    return name


class _Writer:
    def __init__(self, catalogue: Catalogue, rows: Rows) -> None:
        self._catalogue = catalogue
        self._rows = rows
        self._names: dict[tuple[str, object], str] = {}
        self._taken: set[str] = set(TYPING) | {
            "BaseModel",
            "dataclass",
            "field",
            "ConfigDict",
            "Field",
            "Bytea",
            "Relationship",
            "RELATIONSHIPS",
        }

    def _name(self, kind: str, key: object, *parts: str) -> str:
        """The class of a thing, the same each time; a second thing of that name gets a number."""
        if (kind, key) not in self._names:
            wanted = name = class_name(*parts)
            number = 2
            while name in self._taken:
                name, number = f"{wanted}{number}", number + 1
            self._taken.add(name)
            self._names[kind, key] = name
        return self._names[kind, key]

    def body(self) -> list[str]:
        """Everything below the imports; a blank line between what belongs together, two before a class."""
        catalogue = self._catalogue
        for relation in catalogue.relations:
            self._name("row", relation.oid, relation.schema, relation.name)
        parts: list[list[str]] = []
        for schema in catalogue.schemas:
            for one in catalogue.enums(schema):
                name = self._name("type", one.oid, one.schema, one.name)
                parts.append(_literal(name, one.labels))
        for schema in catalogue.schemas:
            for one in catalogue.composites(schema):
                name = self._name("type", one.oid, one.schema, one.name)
                columns = [(column, self.type(oid), True) for column, oid in one.attributes]
                parts.append(self._row(name, f"The composite type {schema}.{one.name}.", columns))
        for relation in catalogue.relations:
            parts += self._relation(relation)
        for function in catalogue.functions:
            parts += self._function(function)
        parts.append(self._relationships())
        lines: list[str] = []
        for part in parts:
            if part:
                if lines:
                    lines += ["", ""] if part[0].startswith(("class ", "@")) or lines[-1].startswith(" ") else [""]
                lines += part
        return lines

    def type(self, oid: int, *, writing: bool = False) -> str:
        """The Python type of a PostgreSQL type; ``writing``: what may be sent for it."""
        found = self._catalogue.resolved(oid)
        if found is None:
            return "Any"
        if found.element is not None:
            return f"list[{self.type(found.element, writing=writing)}]"
        if found.labels:
            if found.schema in self._catalogue.schemas:
                return self._name("type", found.oid, found.schema, found.name)
            return f"Literal[{', '.join(map(repr, found.labels))}]"
        if found.attributes or found.relation is not None:
            relation = self._catalogue.relation_of(found.oid)
            if writing:
                return "Any"
            if relation is not None:
                return self._name("row", relation.oid, relation.schema, relation.name)
            if found.attributes and found.schema in self._catalogue.schemas:
                return self._name("type", found.oid, found.schema, found.name)
            return "dict[str, Any]"
        plain = PLAIN.get(found.name, "Any")
        if writing:
            return {"decimal.Decimal": "decimal.Decimal | float", "Bytea": "bytes"}.get(plain, plain)
        return plain

    def _relation(self, relation: Relation) -> list[list[str]]:
        kind = "view" if relation.is_view else "table"
        name = self._name("row", relation.oid, relation.schema, relation.name)
        where = f"the {kind} {relation.schema}.{relation.name}"
        columns = [(one.name, self.type(one.type), one.is_nullable) for one in relation.columns]
        parts = [self._row(name, f"A row of {where}.", columns)]
        if relation.is_view and not relation.is_updatable:
            return parts
        written = [one for one in relation.columns if self._is_written(one)]
        for what, sentence in (
            ("Insert", f"What is inserted into {where}."),
            ("Update", f"What is changed in {where}."),
        ):
            entries = [
                (
                    one.name,
                    _optional(self.type(one.type, writing=True), one.is_nullable or relation.is_view),
                    what == "Insert" and not relation.is_view and not self._is_optional(one),
                )
                for one in written
            ]
            parts.append(_typed_dict(self._name(what, relation.oid, f"{name}{what}"), sentence, entries))
        return parts

    @staticmethod
    def _is_written(column: Column) -> bool:
        return column.identity != "a" and not column.is_generated and column.is_updatable

    @staticmethod
    def _is_optional(column: Column) -> bool:
        return column.is_nullable or bool(column.identity) or column.has_default

    def _row(self, name: str, sentence: str, columns: Iterable[tuple[str, str, bool]]) -> list[str]:
        entries = [(column, _optional(kind, nullable), True) for column, kind, nullable in columns]
        if self._rows == "typeddict":
            return _typed_dict(name, sentence, entries)
        if self._rows == "dataclass":
            return _dataclass(name, sentence, entries)
        taken: set[str] = set()
        fields, renamed = [], False
        for column, kind, _ in entries:
            field = field_name(column, taken)
            renamed |= field != column
            fields.append(f"    {field}: {kind}" + (f" = Field(alias={_text(column)})" if field != column else ""))
        settings = ["populate_by_name=True"] if renamed else []
        if any(column.startswith("model_") for column, _, _ in entries):
            settings.append("protected_namespaces=()")
        config = [f"    model_config = ConfigDict({', '.join(settings)})", ""] if settings else []
        return [f"class {name}(BaseModel):", f"    {_doc(sentence)}", "", *config, *(fields or ["    pass"])]

    def _function(self, function: Function) -> list[list[str]]:
        inputs = function.inputs
        if not all(argument.name for argument in inputs):
            return []
        where = f"{function.schema}.{function.name}"
        key = (function.schema, function.name, function.signature)
        parts: list[list[str]] = []
        if inputs:
            entries = [(one.name, self.type(one.type, writing=True), not one.has_default) for one in inputs]
            name = self._name("arguments", key, function.schema, function.name, "Args")
            parts.append(_typed_dict(name, f"The arguments of the function {where}.", entries))
        columns = [argument for argument in function.arguments if argument.mode in "tob"]
        if len(columns) > 1 or any(argument.mode == "t" for argument in columns):
            row = self._name("result row", key, function.schema, function.name, "Row")
            shown = [(one.name, self.type(one.type), True) for one in columns]
            parts.append(self._row(row, f"A row of what the function {where} gives.", shown))
            kind = row
        else:
            kind = self.type(function.returns)
        if function.returns_set:
            kind = f"list[{kind}]"
        result = self._name("result", key, function.schema, function.name, "Returns")
        parts.append([f"{result}: TypeAlias = {kind}"])
        return parts

    def _relationships(self) -> list[str]:
        lines = [
            "class Relationship(NamedTuple):",
            '    """A foreign key: what can be embedded in a select, from either side."""',
            "",
            "    name: str",
            "    table: str",
            "    columns: tuple[str, ...]",
            "    referenced_table: str",
            "    referenced_columns: tuple[str, ...]",
            "    is_one_to_one: bool",
            "",
            "",
        ]
        if not self._catalogue.relationships:
            return [*lines, "RELATIONSHIPS: Final[tuple[Relationship, ...]] = ()"]
        lines.append("RELATIONSHIPS: Final = (")
        for one in self._catalogue.relationships:
            lines += [
                "    Relationship(",
                f"        name={_text(one.name)},",
                f"        table={_text(f'{one.schema}.{one.relation}')},",
                f"        columns={_tuple(one.columns)},",
                f"        referenced_table={_text(f'{one.referenced_schema}.{one.referenced_relation}')},",
                f"        referenced_columns={_tuple(one.referenced_columns)},",
                f"        is_one_to_one={one.is_one_to_one},",
                "    ),",
            ]
        return [*lines, ")"]


def _optional(kind: str, is_nullable: bool) -> str:
    return f"{kind} | None" if is_nullable and kind not in ("Any", "None") else kind


def _text(value: str) -> str:
    """A Python text in double quotes, as formatters write it."""
    shown = repr(value)
    if shown[0] == "'" and '"' not in value:
        inner = shown[1:-1].replace("\\'", "'")
        return f'"{inner}"'
    return shown


def _doc(sentence: str) -> str:
    escaped = sentence.replace("\\", "\\\\").replace('"', "'")
    return f'"""{escaped}"""'


def _tuple(names: Sequence[str]) -> str:
    return "(" + "".join(f"{_text(name)}, " for name in names).removesuffix(" " if len(names) == 1 else ", ") + ")"


def _literal(name: str, labels: Sequence[str]) -> list[str]:
    line = f"{name}: TypeAlias = Literal[{', '.join(map(_text, labels))}]"
    if len(line) <= WIDTH:
        return [line]
    return [f"{name}: TypeAlias = Literal[", *(f"    {_text(label)}," for label in labels), "]"]


def _dataclass(name: str, sentence: str, entries: Sequence[tuple[str, str, bool]]) -> list[str]:
    """A dataclass; of a field that is not named as its column, the client reads the alias and writes ``column``."""
    taken: set[str] = set()
    fields = []
    for column, kind, _ in entries:
        name_here = field_name(column, taken, ("dataclass", "field"))
        if name_here == column:
            fields.append(f"    {column}: {kind}")
            continue
        head = f"    {name_here}: Annotated[{kind}, Field(alias={_text(column)})] = field("
        metadata = f'metadata={{"column": {_text(column)}}}'
        line = f"{head}{metadata})"
        fields += [line] if len(line) <= WIDTH else [head, f"        {metadata}", "    )"]
    return ["@dataclass(slots=True)", f"class {name}:", f"    {_doc(sentence)}", *([""] if fields else []), *fields]


def _typed_dict(name: str, sentence: str, entries: Sequence[tuple[str, str, bool]]) -> list[str]:
    """A TypedDict by its columns' names; where one is no name of Python's, in the form of a call."""
    shown = [(column, kind if required else f"NotRequired[{kind}]") for column, kind, required in entries]
    if all(
        column.isidentifier() and not keyword.iskeyword(column) and not column.startswith("__") for column, _ in shown
    ):
        fields = [f"    {column}: {kind}" for column, kind in shown]
        return [f"class {name}(TypedDict):", f"    {_doc(sentence)}", *([""] if fields else []), *fields]
    lines = [f"    {_text(column)}: {_text(kind)}," for column, kind in shown]
    head = [f"# {sentence}", f"{name} = TypedDict(", f"    {_text(name)},", "    {"]
    return [*head, *(f"    {line}" for line in lines), "    },", ")"]
