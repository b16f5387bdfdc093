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
    *(
        Allowed(scenario, call, path, "TypeError either way, in Python's words for another line of code")
        for scenario, call, path in (
            ("wrong.data", "table None", "/*"),
            ("wrong.storage", "from None", "/*"),
            ("wrong.storage", "upload None", "/*"),
        )
    ),
    Allowed(
        "wrong.data", "rpc None", "/*", "the server says that there is no such function; upstream's TypeError says less"
    ),
    Allowed(
        "wrong.storage",
        "upload to nowhere",
        "/*",
        "refused for its name; upstream's form is refused for its content",
    ),
    Allowed("wrong.auth", "oauth with an unknown one", "/*", "custom providers have names of their own"),
    Allowed("client.errors", "data copied", "/*", "errors can be copied, and sent between processes"),
    *(
        Allowed(
            "client.kept",
            call,
            path,
            "a code verifier for each flow beside the newest one, so that two sign-ins at once do not undo each other",
        )
        for call, path in {"stored": "*-code-verifier", "stored verifier": "/gives", "stored after": "/gives"}.items()
    ),
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
    Allowed(
        "realtime.changes", "*", "*/data/position", "a further key, by which a client that comes back asks for the rest"
    ),
    Allowed(
        "realtime.broadcast",
        "what cannot be sent",
        "/*",
        "ValueError either way; ours says that it is about the payload",
    ),
    Allowed("realtime.refuse", "refused", "/gives/0/1/0", "the error has a class of its own that can be caught"),
    Allowed("realtime.refuse", "an event that is none", "/*", "refused at once; upstream waits for what never comes"),
    *(
        Allowed(
            name,
            "nobody there",
            "/*",
            "the operating system's reason; httpcore's asyncio connections leave it out",
            modes=("async",),
        )
        for name in ("data.refuse", "auth.refuse", "functions.invoke")
    ),
)


def allowed_for(scenario: str, mode: str) -> list[Allowed]:
    """The differences that must be seen in this scenario."""
    return [one for one in ALLOWED if mode in one.modes and fnmatchcase(scenario, one.scenario)]
