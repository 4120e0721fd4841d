"""`python -m slipway_operator`."""

import sys

from slipway_operator.running import main

sys.exit(main())
