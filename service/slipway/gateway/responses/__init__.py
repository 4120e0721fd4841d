"""OpenAI's Responses API, with its state in the gateway's own database: engines come and go."""
