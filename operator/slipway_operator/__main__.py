"""`python -m slipway_operator`."""

from slipway_operator.running import main

main()
