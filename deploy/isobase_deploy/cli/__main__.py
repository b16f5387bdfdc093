"""``python -m isobase_deploy.cli``: the command without its script, as a detached server is started."""

import sys

from isobase_deploy.cli import main

sys.exit(main())
