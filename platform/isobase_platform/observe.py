"""Structured logs without secrets, and the process's Prometheus metrics.

``configure_logging`` is called once by the command line. Services log through ``logging.getLogger("isobase.<part>")`` with
``extra={...}`` fields; whatever a field is called, values that look like tokens, keys or passwords are masked here.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["Metrics", "configure_logging", "mask_secrets"]

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SECRET_NAME = re.compile(r"(password|secret|token|apikey|api_key|authorization|cookie|credential)", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"(eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"  # a JWT
    r"|sb_(?:secret|publishable)_[\w-]+"  # an opaque API key
    r"|(?<=://)[^\s:/@]+:[^\s@]+(?=@))"  # user:password of a URL
)
MASK = "[hidden]"


def mask_secrets(text: str) -> str:
    """Replace JWTs, opaque API keys and the user:password part of URLs by ``[hidden]``."""
    return _SECRET_TEXT.sub(MASK, text)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in vars(record).items():
        if name in _STANDARD_FIELDS:
            continue
        if _SECRET_NAME.search(name):
            fields[name] = MASK
        else:
            fields[name] = mask_secrets(value) if isinstance(value, str) else value
    return fields


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": mask_secrets(record.getMessage()),
            **_fields(record),
        }
        if record.exc_info:
            entry["exception"] = mask_secrets(self.formatException(record.exc_info))
        return json.dumps(entry, default=str, ensure_ascii=False)


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        line = f"{clock} {record.levelname.lower():7} {mask_secrets(record.getMessage())}"
        line = f"{line}  {fields}" if fields else line
        return f"{line}\n{mask_secrets(self.formatException(record.exc_info))}" if record.exc_info else line


def configure_logging(level: str, log_format: str) -> None:
    """Send the ``isobase`` loggers, and the HTTP server's warnings, to standard error.

    ``level`` is a logging level's name; ``log_format`` is json, text, or auto (text on a terminal, else json).
    """
    use_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_TextFormatter() if use_text else _JsonFormatter())
    root = logging.getLogger("isobase")
    root.setLevel(level.upper())
    server = logging.getLogger("uvicorn")  # tells of requests that are no HTTP; else Python prints its lines bare
    server.setLevel(logging.WARNING)
    for logger in (root, server):
        logger.handlers[:] = [handler]
        logger.propagate = False


class Metrics:
    """The counters of one process, in a registry of their own so that two in one test do not collide."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "isobase_http_requests", "Requests answered", ("mount", "method", "status"), registry=self.registry
        )
        self.duration_s = Histogram(
            "isobase_http_request_duration_seconds",
            "Time from the first byte of a request to the last of its answer",
            ("mount",),
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self.registry,
        )
        self.in_flight = Gauge("isobase_http_requests_in_flight", "Requests being answered", registry=self.registry)
        self.messages = Counter(
            "isobase_auth_messages",
            "Mails and text messages of auth, by what became of them: sent, retried, failed, dropped",
            ("channel", "kind", "outcome"),
            registry=self.registry,
        )
        self.pool_connections = Gauge(
            "isobase_database_connections", "Open database connections", ("role", "state"), registry=self.registry
        )
        self.rate_limited = Counter(
            "isobase_rate_limited", "Calls refused by a rate limit", ("kind",), registry=self.registry
        )
        self.store_failures = Counter(
            "isobase_rate_limit_store_failures",
            "Times that the store did not answer, so that a process limited by itself",
            registry=self.registry,
        )
        self.storage_orphan_blobs = Gauge(
            "isobase_storage_orphan_blobs", "Blobs without a row that the last comparison left", registry=self.registry
        )
        self.storage_orphan_bytes = Gauge("isobase_storage_orphan_bytes", "Their size", registry=self.registry)
        self.storage_rows_without_blob = Gauge(
            "isobase_storage_rows_without_blob", "Objects whose bytes are not there", registry=self.registry
        )
        self.storage_checked_at = Gauge(
            "isobase_storage_checked_timestamp_seconds",
            "When this process last compared blobs with rows",
            registry=self.registry,
        )
        self.storage_removed = Counter(
            "isobase_storage_removed", "What regular work removed, by kind", ("kind",), registry=self.registry
        )
        self.storage_work_failures = Counter(
            "isobase_storage_work_failures", "Regular work that failed, by kind", ("kind",), registry=self.registry
        )
