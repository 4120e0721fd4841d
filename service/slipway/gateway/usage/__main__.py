"""`python -m slipway.gateway.usage`: the recorder, as the gateway starts it."""

import sys

from slipway.gateway.usage.process import main

sys.exit(main())
