"""`helm test`: a real call to the gateway. Environment: GATEWAY (its URL), KEY and MODEL (may be empty)."""

import json
import os
import sys
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

GATEWAY = os.environ["GATEWAY"]
KEY = os.environ.get("KEY", "")


def call(path: str, body: object = None) -> tuple[int, dict]:
    """Status and JSON of a request with the key."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {KEY}"} if KEY else {})
    request = Request(GATEWAY + path, None if body is None else json.dumps(body).encode(), headers)
    try:
        with urlopen(request, timeout=600) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)
    except URLError as error:
        sys.exit(f"{GATEWAY} cannot be reached: {error.reason}. Do its pods run? kubectl get pods")


def expect(status: int, got: tuple[int, dict], what: str) -> dict:
    """The answer, if it has that status; else the end, with what the gateway says."""
    if got[0] != status:
        said = got[1].get("error", {}).get("message") or got[1].get("reason") or json.dumps(got[1])
        sys.exit(f"{what}: {got[0]} in place of {status}. {said}")
    return got[1]


expect(200, call("/readyz"), "GET /readyz")
if not KEY:
    expect(401, call("/v1/models"), "GET /v1/models without a key")
    print("The gateway is ready. To have a model asked, set test.keySecret.name to a Secret apikey-NAME.")
    sys.exit()
models = [model["id"] for model in expect(200, call("/v1/models"), "GET /v1/models")["data"]]
model = os.environ.get("MODEL") or next(iter(models), None)
if model is None:
    sys.exit("The key may call no model. Apply an LLMService, or let the key call it (spec.models).")
question = {"role": "user", "content": "Say hello."}
body = {"model": model, "messages": [question], "max_tokens": 16}
answer = expect(200, call("/v1/chat/completions", body), f"Chat with {model}")
print(
    f"{model}: {answer['choices'][0]['message']['content']!r}, {answer['usage']['completion_tokens']} tokens"
)
