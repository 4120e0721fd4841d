"""The data plane's door: OpenAI-compatible API, auth, limits, relay, metrics, console."""
