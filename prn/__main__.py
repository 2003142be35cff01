"""`python -m prn`."""

import sys

from prn.cli import main

sys.exit(main())
