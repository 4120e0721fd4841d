"""From the gateway to the engines: connections, choice of endpoint, retries, streams. Knows no keys."""
