"""A project's own templates: Go's template language, as upstream's files are written in, turned into Jinja2.

``lexer`` cuts a file into text and actions, ``expressions`` turns what is inside an action into a Jinja2 expression,
``places`` knows where in the HTML an action stands, ``translate`` puts them together, ``runtime`` runs the result in
a sandbox.
"""

from __future__ import annotations

from isobase_services.auth.messages.templates.lexer import TemplateError
from isobase_services.auth.messages.templates.runtime import CompiledTemplate, compile_template

__all__ = ["CompiledTemplate", "TemplateError", "compile_template"]
