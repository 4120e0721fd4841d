"""Several adapters as one: merged into one, or bagged to be asked together."""
