"""Runs commands of ``isobase`` in processes of their own, each a fork of this one: what is imported is imported once.

For each line of its input, a command's arguments and after how many seconds to kill it (null: not at all) as JSON, it
prints the exit code.
"""

import json
import os
import signal
import sys
import time

from isobase_adapter.bulk import moving, sync  # noqa: F401 - the children need them
from isobase_deploy.cli import main, migrate_copy  # noqa: F401

if __name__ == "__main__":
    for line in sys.stdin:
        arguments, after_s = json.loads(line)
        if not (child := os.fork()):
            os.close(0)
            os.dup2(2, 1)
            os._exit(main(arguments))
        if after_s is not None:
            time.sleep(after_s)
            os.kill(child, signal.SIGKILL)  # Nobody has waited for it: the number is surely its own.
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
