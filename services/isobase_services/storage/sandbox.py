"""What keeps a stored file from running in a browser that opens it by its URL: headers by the file's type. Pure.

Users choose the type of what they store, and the API's origin serves it. SVG, XHTML and other XML are documents that may run
scripts; a type that is missing, or that a browser cannot read, makes it guess from the bytes, and then any file may turn out
to be HTML. The type itself stays what the user said (clients read it back); a sandboxed document is drawn, without scripts
and without the origin. Images in pages, downloads and ``fetch`` are not touched by it.
Source: WHATWG MIME Sniffing ("unknown" types, "extract a MIME type"); CSP 3, ``sandbox``. (Upstream rewrites HTML only.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["sandbox_headers"]

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  RFC 9110's "token"
_TYPE = re.compile(rf"({_TOKEN}/{_TOKEN})[ \t]*(?:;[^,]*)?")
"""A comma would begin another type, and browsers take the last."""
_GUESSED = frozenset({"unknown/unknown", "application/unknown", "*/*"})
_DOCUMENTS = frozenset({"text/html", "text/xml", "application/xml", "text/xsl", "message/rfc822"})
_SANDBOX: Mapping[str, str] = {"content-security-policy": "sandbox", "x-content-type-options": "nosniff"}
_NOTHING: Mapping[str, str] = {}


def sandbox_headers(content_type: str | None) -> Mapping[str, str]:
    """The headers beside ``content_type``, the value as it will be sent (None: no such header); empty for harmless types."""
    match = _TYPE.fullmatch((content_type or "").strip())
    if match is None:
        return _SANDBOX
    essence = match[1].lower()
    is_document = essence in _DOCUMENTS or essence.endswith("+xml") or essence.startswith("multipart/")
    return _SANDBOX if is_document or essence in _GUESSED else _NOTHING
