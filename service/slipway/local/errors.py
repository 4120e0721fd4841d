"""What can go wrong with a local run, each as one sentence that says how to mend it.

LocalError
├── StateError        the state folder cannot be used
├── PortTakenError         another process listens on the gateway's port
├── EngineMissingError     the engines' interpreter cannot run an engine
├── StartFailedError       an engine or the gateway did not become ready
├── GatewayLateError       the gateway does not answer for what is ready
└── NotRunningError        there is no `slipway up` to talk to
"""


class LocalError(Exception):
    """A local run cannot go on; the message is for people."""


class StateError(LocalError):
    """The state folder cannot be written or read."""


class PortTakenError(LocalError):
    """The gateway's port belongs to another process."""


class EngineMissingError(LocalError):
    """No interpreter that could run an engine."""


class StartFailedError(LocalError):
    """A process ended, or ran out of time, before it was ready."""


class GatewayLateError(LocalError):
    """The gateway has not taken up what is ready, or the key to it."""


class NotRunningError(LocalError):
    """Nothing runs by this state folder."""
