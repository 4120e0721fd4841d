"""Other APIs in terms of chat completions, which every engine speaks.

Responses and Messages are not relayed to vLLM's own routes of these names. vLLM 0.32 makes chat requests of
both itself, and loses things on the way: of an assistant's message it takes the first part only and fails at
one that is empty, it never says `response.incomplete`, a tool's `is_error` is dropped, a thinking budget is
an error for a model that does not think. And a model served by another runtime would have neither API.
"""
