"""Password hashes: bcrypt for new ones; bcrypt, argon2, Firebase scrypt and the embedded server's stand-ins verified.

Hashing costs a quarter of a second of a core on purpose. It runs in a small thread pool of its own with a bounded queue, so
that a burst of sign-ins can neither block the event loop nor pile up without end. Formats: contracts auth 2.6 and
docs/decisions/0005-pgcrypto-stand-in.md. Nothing here logs.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import re
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import argon2
import bcrypt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from isobase_services.auth.errors import overloaded

if TYPE_CHECKING:
    from isobase_platform.pool import Connection

__all__ = [
    "MAX_PASSWORD_BYTES",
    "PasswordHasher",
    "Verification",
    "hash_password",
    "is_importable_hash",
    "rehash_stand_ins",
    "verify_password",
]

MAX_PASSWORD_BYTES = 72
"""bcrypt looks at no more; a longer password is refused, never cut."""
MAX_QUEUED_PER_WORKER = 32
"""At cost 12 a worker empties this queue in about eight seconds, within the ten that a request may take."""
HASHING_NICENESS = 5
"""The priority of a hashing thread: it gets about a quarter of a core that another busy thread wants too."""
MAX_ARGON2_MEMORY_KIB = 1024 * 1024
MAX_ARGON2_ROUNDS = 20
MAX_ARGON2_LANES = 16
MAX_SCRYPT_MEMORY_BYTES = 256 * 1024 * 1024

_BCRYPT = re.compile(r"\$2[abxy]\$(\d\d)\$[./A-Za-z0-9]{53}")
_ARGON2 = re.compile(r"\$argon2(id|i)\$v=19\$m=(\d{1,9}),t=(\d{1,9}),p=(\d{1,3})\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+")
_FIREBASE_SCRYPT = re.compile(
    r"\$fbscrypt\$v=1,n=(\d{1,2}),r=(\d{1,4}),p=(\d{1,3})(?:,ss=([^,$]+))?(?:,sk=([^$]+))?\$([^$]+)\$(.+)"
)
_STAND_IN = re.compile(r"\$isobase\$v1\$([1-9][0-9]{0,5})\$([0-9a-f]{32})\$([0-9a-f]{64})")
_STAND_IN_UNDER_BCRYPT = re.compile(
    r"\$isobase\$v1b\$([1-9][0-9]{0,5})\$([0-9a-f]{32})\$(\$2b\$\d\d\$[./A-Za-z0-9]{53})"
)
_MAX_STAND_IN_ROUNDS = 100_000
_BCRYPT_COSTS = range(4, 32)
_IDLE_SALT = "abcdefghijklmnopqrstuu"

_Result = TypeVar("_Result")


@dataclass(slots=True, frozen=True)
class Verification:
    """``matches``: the password is the one of the hash; ``needs_new_hash``: it is right, but kept in a stand-in's form."""

    matches: bool
    needs_new_hash: bool = False


_NO_MATCH = Verification(matches=False)


class PasswordHasher:
    """Hashes and verifies off the event loop.

    ``cost``: bcrypt's, 4 to 16; ``workers``: hashes computed at once, None for as many as there are cores. The threads step
    back behind everything else that the machine does. Close it with ``close``.
    """

    def __init__(self, *, cost: int, workers: int | None) -> None:
        self._cost = cost
        workers = workers or _usable_cores()
        self._limit = workers * MAX_QUEUED_PER_WORKER
        self._pending: set[asyncio.Future[Any]] = set()
        self._is_closed = False
        self._threads = ThreadPoolExecutor(
            max_workers=workers, thread_name_prefix="isobase-password", initializer=_step_back
        )

    async def hash(self, password: str) -> str:
        """A new bcrypt hash. The caller has checked the length; raises the 504 of ``overloaded`` when the queue is full."""
        return await self._run(lambda: hash_password(password, self._cost))

    async def verify(self, password: str, stored: str | None) -> Verification:
        """Compare with a stored hash. Where there is none it takes as long and answers no, so that time tells nothing."""
        cost = self._cost
        return await self._run(lambda: verify_password(password, stored or "", idle_cost=cost))

    async def spend(self, password: str) -> None:
        """Take the time of one hash, for answers that must not be told from real ones by their time."""
        cost = self._cost
        await self._run(lambda: _idle(password, cost))

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        if self._is_closed or len(self._pending) >= self._limit:
            raise overloaded()
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        # The place in the queue is taken until the thread is done, even when the client went away.
        self._pending.add(future)
        future.add_done_callback(self._done)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if future.cancelled():  # dropped out of the queue by ``close``; else it is the request that was cancelled
                raise overloaded() from None
            raise

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._pending.discard(future)
        if not future.cancelled():
            future.exception()  # marks it as seen; whoever still waits gets it as well

    async def close(self, timeout_s: float) -> None:
        """Let what is running and queued end within ``timeout_s`` seconds, then let go of the threads.

        What is still queued then, or when the caller's patience ends before, is dropped: a process would not end before it.
        """
        try:
            if self._pending:
                await asyncio.wait(self._pending, timeout=timeout_s)
        finally:
            self._is_closed = True
            self._threads.shutdown(wait=False, cancel_futures=True)


def _usable_cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _step_back() -> None:
    """Lower this thread's priority, so that a core that it computes on is given up as soon as anything else wants it."""
    if sys.platform != "linux":  # elsewhere priorities belong to processes
        return
    with contextlib.suppress(OSError):  # a sandbox may forbid it; then it is as slow for the others as it was
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), HASHING_NICENESS)


def hash_password(password: str, cost: int) -> str:
    """bcrypt of ``password`` at ``cost`` (2^cost rounds). Blocks. Raises ValueError above ``MAX_PASSWORD_BYTES``."""
    secret = password.encode()
    if len(secret) > MAX_PASSWORD_BYTES:
        raise ValueError("password is longer than bcrypt can tell apart")
    return bcrypt.hashpw(secret, bcrypt.gensalt(cost)).decode()


def verify_password(password: str, stored: str, *, idle_cost: int) -> Verification:
    """Compare ``password`` with a hash of any known format. Blocks.

    An empty or unknown ``stored`` is never a match and costs one bcrypt of ``idle_cost``.
    """
    secret = password.encode()
    if stored.startswith("$isobase$"):
        return _verify_stand_in(secret, stored, idle_cost)
    if stored.startswith("$argon2") and is_importable_hash(stored):
        return Verification(_matches_argon2(secret, stored))
    if stored.startswith("$fbscrypt$") and is_importable_hash(stored):
        return Verification(_matches_firebase_scrypt(secret, stored))
    if _BCRYPT.fullmatch(stored) and len(secret) <= MAX_PASSWORD_BYTES:
        return Verification(_matches_bcrypt(secret, stored))
    _idle(password, idle_cost)
    return _NO_MATCH


def is_importable_hash(stored: str) -> bool:
    """Whether an administrator may bring this hash: bcrypt, argon2i, argon2id or Firebase scrypt, within limits."""
    if match := _BCRYPT.fullmatch(stored):
        return int(match[1]) in _BCRYPT_COSTS
    if match := _ARGON2.fullmatch(stored):
        memory, rounds, lanes = (int(match[group]) for group in (2, 3, 4))
        return (
            memory <= MAX_ARGON2_MEMORY_KIB
            and 1 <= rounds <= MAX_ARGON2_ROUNDS
            and 1 <= lanes <= MAX_ARGON2_LANES
            and memory >= 8 * lanes
        )
    if match := _FIREBASE_SCRYPT.fullmatch(stored):
        power, rounds, lanes = (int(match[group]) for group in (1, 2, 3))
        if not (1 <= power <= 24 and rounds >= 1 and lanes >= 1):
            return False
        if 128 * (1 << power) * rounds > MAX_SCRYPT_MEMORY_BYTES:
            return False
        return all(_base64(match[group]) is not None for group in (4, 5, 6, 7) if match[group])
    return False


def _matches_bcrypt(secret: bytes, stored: str) -> bool:
    try:
        return bcrypt.checkpw(secret, stored.encode())
    except ValueError:
        return False  # looks like bcrypt and is not, or the password holds a NUL, which bcrypt cannot


def _matches_argon2(secret: bytes, stored: str) -> bool:
    kind = argon2.Type.ID if stored.startswith("$argon2id$") else argon2.Type.I
    try:
        return argon2.low_level.verify_secret(stored.encode(), secret, kind)
    except argon2.exceptions.Argon2Error:
        return False


def _matches_firebase_scrypt(secret: bytes, stored: str) -> bool:
    match = _FIREBASE_SCRYPT.fullmatch(stored)
    if match is None:
        return False
    salt, separator = _base64(match[6]) or b"", _base64(match[4] or "") or b""
    signer_key, expected = _base64(match[5] or "") or b"", _base64(match[7]) or b""
    key = hashlib.scrypt(
        secret,
        salt=salt + separator,
        n=1 << int(match[1]),
        r=int(match[2]),
        p=int(match[3]),
        maxmem=2 * MAX_SCRYPT_MEMORY_BYTES,
        dklen=32,
    )
    # Firebase defines the counter mode with a zero start: the key is fresh for every salt.
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    derived = encryptor.update(signer_key) + encryptor.finalize()
    return hmac.compare_digest(derived, expected)


def _verify_stand_in(secret: bytes, stored: str, idle_cost: int) -> Verification:
    if match := _STAND_IN.fullmatch(stored):
        matches = hmac.compare_digest(_stand_in_hash(secret, match[1], match[2]), match[3])
        if not matches:
            _idle("", idle_cost)  # the stand-in is much faster than bcrypt, and that must not tell whose it is
        return Verification(matches, needs_new_hash=matches and len(secret) <= MAX_PASSWORD_BYTES)
    if match := _STAND_IN_UNDER_BCRYPT.fullmatch(stored):
        matches = _matches_bcrypt(_stand_in_hash(secret, match[1], match[2]).encode(), match[3])
        return Verification(matches, needs_new_hash=matches and len(secret) <= MAX_PASSWORD_BYTES)
    _idle("", idle_cost)
    return _NO_MATCH


def _stand_in_hash(secret: bytes, rounds: str, salt: str) -> str:
    count = min(int(rounds), _MAX_STAND_IN_ROUNDS)
    return hashlib.pbkdf2_hmac("sha256", secret, bytes.fromhex(salt), count).hex()


def _idle(password: str, cost: int) -> None:
    secret = password.encode()[:MAX_PASSWORD_BYTES].replace(b"\x00", b"_")
    bcrypt.hashpw(secret, f"$2b${cost:02d}${_IDLE_SALT}".encode())


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


async def rehash_stand_ins(connection: Connection, *, cost: int) -> int:
    """Put bcrypt over every stand-in hash in ``auth.users`` and return how many there were.

    For the runner of migrations to call after a seed; ``connection`` needs to read and update auth.users; ``cost`` is
    bcrypt's. The clear text is not needed (see decision 0005). A row that changed meanwhile is left as it is.
    """
    rows = await connection.fetch(
        "select id, encrypted_password from auth.users where encrypted_password like '$isobase$v1$%'"
    )
    count = 0
    for row in rows:
        match = _STAND_IN.fullmatch(row["encrypted_password"])
        if match is None:
            continue
        layered = await asyncio.to_thread(hash_password, match[3], cost)
        status = await connection.execute(
            "update auth.users set encrypted_password = $1 where id = $2 and encrypted_password = $3",
            f"$isobase$v1b${match[1]}${match[2]}${layered}",
            row["id"],
            row["encrypted_password"],
        )
        count += status == "UPDATE 1"
    return count
