"""Regions and checks of arguments."""

from __future__ import annotations

from enum import StrEnum
from urllib.parse import urlsplit

__all__ = [
    "BASE64URL_REGEX",
    "DEFAULT_FUNCTION_CLIENT_TIMEOUT",
    "FunctionRegion",
    "is_http_url",
    "is_valid_str_arg",
]

DEFAULT_FUNCTION_CLIENT_TIMEOUT = 5
"""Seconds; upstream's name, which nothing reads there either: a call has 60 s."""

BASE64URL_REGEX = r"^([a-z0-9_-]{4})*($|[a-z0-9_-]{3}$|[a-z0-9_-]{2}$)$"
"""A part of a JWT; read without regard to case."""


class FunctionRegion(StrEnum):
    """Where a function of a hosted Supabase project is to run. ``Any``: wherever is nearest."""

    Any = "any"
    ApNortheast1 = "ap-northeast-1"
    ApNortheast2 = "ap-northeast-2"
    ApSouth1 = "ap-south-1"
    ApSoutheast1 = "ap-southeast-1"
    ApSoutheast2 = "ap-southeast-2"
    CaCentral1 = "ca-central-1"
    EuCentral1 = "eu-central-1"
    EuWest1 = "eu-west-1"
    EuWest2 = "eu-west-2"
    EuWest3 = "eu-west-3"
    SaEast1 = "sa-east-1"
    UsEast1 = "us-east-1"
    UsWest1 = "us-west-1"
    UsWest2 = "us-west-2"


def is_valid_str_arg(target: str) -> bool:
    """Tell whether ``target`` is a text with something in it."""
    text: object = target  # what callers give may be anything
    return isinstance(text, str) and bool(text.strip())


def is_http_url(url: str) -> bool:
    """Tell whether ``url`` begins with http or https."""
    return urlsplit(url).scheme in {"http", "https"}
