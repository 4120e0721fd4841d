"""Annotations by which people tell the operator to do something once, or to leave something alone."""

PAUSED = "slipway.dev/paused"
"""`"true"` on any object: the operator leaves it and its children as they are."""
ROLLOUT_COMMAND = "slipway.dev/rollout-command"
"""On an LLMService, or on a FineTune for its adapter, `VERB[:ARGUMENT]@UNIX_MS`, done once: undo, promote,
abort, pause, resume, retry."""
RETRY = "slipway.dev/retry"
"""On a FineTune, `STAGE@UNIX_MS`, done once: do this stage and those after it again."""
ROTATE_KEY = "slipway.dev/rotate-key"
"""On an APIKey: each new value gives the key a new secret, once."""
ROTATION_OVERLAP = "slipway.dev/rotation-overlap"
"""On an APIKey: the duration for which the secret before a rotation works on, such as `1h`."""
