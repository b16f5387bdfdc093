"""The aws command line has a make target of its own (``make test-aws-cli``): ``make test`` leaves it out.

It pins a botocore that is not the suite's, so it is installed apart.
"""

from __future__ import annotations

import os

if "AWS_CLI" not in os.environ:
    collect_ignore_glob = ["test_*.py"]
