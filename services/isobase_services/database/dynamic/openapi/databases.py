"""Databases and their members: the description of their routes."""

from __future__ import annotations

from typing import Any

from isobase_services.database.dynamic.openapi.parts import (
    BAD_BODY,
    DATABASE,
    DATABASE_ID,
    FORBIDDEN,
    IN_DATABASE,
    LAST_OWNER,
    MEMBER,
    NO_DATABASE,
    OF_MEMBER,
    QUOTA,
    USER_ID,
    UUID,
    answer,
    body,
    deleted,
    error,
    list_schema,
    object_schema,
    operation,
    reference,
)

__all__ = ["PATHS"]

PATHS: dict[str, Any] = {
    "/db": {
        "post": operation(
            "Create a database",
            {
                "201": answer("Created", reference("Database"), DATABASE),
                "400": BAD_BODY,
                "403": QUOTA,
                "409": error("The name is in use", "database_exists", "You have a database named inventory already"),
            },
            description="A database is a PostgreSQL schema; official clients reach its tables with schema().",
            requestBody=body(reference("DatabaseBody"), {"name": "inventory"}),
        ),
        "get": operation(
            "List your databases",
            {"200": answer("Databases", list_schema("Database", "databases"), {"databases": [DATABASE]})},
        ),
    },
    "/db/{database_id}": {
        "get": operation(
            "Get a database",
            {"200": answer("The database", reference("Database"), DATABASE), "404": NO_DATABASE},
            parameters=IN_DATABASE,
        ),
        "delete": operation(
            "Delete a database with all its tables and rows",
            {"200": deleted("database_id", DATABASE_ID), "403": FORBIDDEN, "404": NO_DATABASE},
            parameters=IN_DATABASE,
        ),
    },
    "/db/{database_id}/members": {
        "get": operation(
            "List the members",
            {"200": answer("Members", list_schema("Member", "members"), {"members": [MEMBER]}), "404": NO_DATABASE},
            parameters=IN_DATABASE,
        ),
        "post": operation(
            "Make a user a member",
            {
                "201": answer("The member", reference("Member"), MEMBER),
                "400": BAD_BODY,
                "403": FORBIDDEN,
                "404": error("No such database or user", "user_not_found", "There is no such user"),
                "409": error("Already a member", "is_member", "The user is a member already"),
            },
            description="A reader reads, an editor also writes rows and changes tables, an owner also names members and"
            " drops the database. Owners alone may do this.",
            parameters=IN_DATABASE,
            requestBody=body(reference("NewMemberBody"), {"user_id": USER_ID, "role": "editor"}),
        ),
    },
    "/db/{database_id}/members/{user_id}": {
        "put": operation(
            "Make a user a member, or change a member's role",
            {
                "200": answer("The member", reference("Member"), MEMBER),
                "400": BAD_BODY,
                "403": FORBIDDEN,
                "404": error("No such database or user", "user_not_found", "There is no such user"),
                "409": LAST_OWNER,
            },
            parameters=OF_MEMBER,
            requestBody=body(reference("MemberBody"), {"role": "editor"}),
        ),
        "patch": operation(
            "Change a member's role",
            {
                "200": answer("The member", reference("Member"), MEMBER),
                "400": BAD_BODY,
                "403": FORBIDDEN,
                "404": error("No such database or member", "member_not_found", "There is no such member"),
                "409": LAST_OWNER,
            },
            parameters=OF_MEMBER,
            requestBody=body(reference("MemberBody"), {"role": "reader"}),
        ),
        "delete": operation(
            "Remove a member, or leave",
            {
                "200": answer(
                    "Removed",
                    object_schema(user_id=UUID, removed={"type": "boolean"}),
                    {"user_id": USER_ID, "removed": True},
                ),
                "403": FORBIDDEN,
                "404": error("No such database or member", "member_not_found", "There is no such member"),
                "409": LAST_OWNER,
            },
            parameters=OF_MEMBER,
        ),
    },
}
