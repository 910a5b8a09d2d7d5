"""`python -m holdfast.cli` is `holdfast`: for an installation that chooses its interpreter."""

from __future__ import annotations

import sys

from holdfast.cli import main

sys.exit(main())
