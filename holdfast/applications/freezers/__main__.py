"""The watchdog of one freeze.

    python -m holdfast.applications.freezers RECORD ANSWER_FD LOCK_FD

Started by freezing.begin, not by people.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from holdfast.applications.freezers.watchdog import main

if __name__ == "__main__":
    if os.fork():
        os._exit(0)  # the watchdog belongs to nobody: the command that asked for it may end
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
