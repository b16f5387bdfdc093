"""Where the two libraries may differ, with the reason. A difference that is listed and not seen is an error too."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

__all__ = ["ALLOWED", "Allowed", "allowed_for"]


@dataclass(slots=True, frozen=True)
class Allowed:
    """``call`` and ``path`` are patterns (fnmatch) of what differs in the scenarios that ``scenario`` matches."""

    scenario: str
    call: str
    path: str
    reason: str
    modes: tuple[str, ...] = ("sync", "async")

    def covers(self, scenario: str, mode: str, call: str, path: str) -> bool:
        """Whether the difference at ``path`` of ``call`` is this one."""
        return (
            mode in self.modes
            and fnmatchcase(scenario, self.scenario)
            and fnmatchcase(call, self.call)
            and fnmatchcase(path, self.path)
        )


ALLOWED: tuple[Allowed, ...] = (
    Allowed(
        "data.r[ep][ac]*",
        "maybe_single of none",
        "/gives",
        "an answer whose data is None, as the types say, so that .execute().data works; upstream gives None itself",
    ),
    Allowed(
        "data.read",
        "maybe_single of many",
        "*",
        "the server's own words; upstream makes up code 406 and a hint to look for a traceback",
    ),
    Allowed(
        "*.refuse",
        "nobody there",
        "/*",
        "the operating system's reason; httpcore's asyncio connections leave it out",
        modes=("async",),
    ),
    Allowed("storage.files", "upload a file object", "/*", "any readable file goes up; upstream takes some kinds only"),
    Allowed(
        "storage.files",
        "parts",
        "/gives/1/fields/*",
        "how a bucket's proxy keeps its address and headers is nobody's business",
    ),
    Allowed(
        "data.refuse", "select of a number", "/*", "TypeError either way, in Python's words for another line of code"
    ),
)


def allowed_for(scenario: str, mode: str) -> list[Allowed]:
    """The differences that must be seen in this scenario."""
    return [one for one in ALLOWED if mode in one.modes and fnmatchcase(scenario, one.scenario)]
