"""The limit of open files."""

from __future__ import annotations

import resource

from isobase_deploy.open_files import allow_open_files


def test_the_soft_limit_of_open_files_becomes_the_hard_one() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, before[1]), before[1]))
        assert allow_open_files() == before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
        assert allow_open_files() == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
