"""Many records in little memory: spread over partitions by a hash of their key, in temporary files once they are many.

Two spills with the same keys can be compared partition by partition: what belongs together lies in partitions of one number.
The files have no name, so whatever ends the process, nothing is left of them.
"""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from types import TracebackType

__all__ = ["PARTITIONS", "Spill"]

PARTITIONS = 128
"""One of them is held at a time: of ten million records 80,000. Two large spills have 256 files open."""
MEMORY_BYTES_PER_PARTITION = 32 * 1024
"""What one partition keeps before it goes to a file: a small project never touches the disk."""


class Spill:
    """Records (lists of plain values) by key. Not thread-safe; its methods work on files, so call them on a thread."""

    def __init__(self) -> None:
        self._files = [
            tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES_PER_PARTITION, mode="w+b")  # noqa: SIM115  closed in close
            for _ in range(PARTITIONS)
        ]

    def __enter__(self) -> Spill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, records: Iterable[tuple[str, list[object]]]) -> None:
        """Append records, each with its key. Raises ``OSError`` where the temporary directory is full."""
        for key, record in records:
            line = json.dumps([key, *record], ensure_ascii=False, separators=(",", ":"))
            # A surrogate cannot be in a text of PostgreSQL's, but in a name that a disk gives.
            encoded = line.encode(errors="surrogatepass")
            self._files[zlib.crc32(key.encode(errors="surrogatepass")) % PARTITIONS].write(encoded + b"\n")

    def partition(self, number: int) -> Iterator[tuple[str, list[object]]]:
        """The records of one partition, from 0 to ``PARTITIONS - 1``, in the order in which they were added."""
        file = self._files[number]
        file.seek(0)
        for line in file:
            key, *record = json.loads(line.decode(errors="surrogatepass"))
            yield key, record

    def close(self) -> None:
        """Drop everything."""
        for file in self._files:
            file.close()
