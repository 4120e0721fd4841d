"""OpenAI's fine-tuning API from a file to a model that has learned: client, training and engine are real."""

import json
from typing import Any

import pytest

from integration.stack.running import CHAT, Stack
from integration.waiting import until

WORDS = ("red", "blue", "green", "black", "white", "pink", "gold", "gray")
ENDED = ("succeeded", "failed", "cancelled")


def asked(word: str, number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"code for {word} {number}"}]


@pytest.mark.timeout(900)
def test_a_job_of_the_official_client_teaches_a_model_that_is_callable_when_it_is_done(stack: Stack) -> None:
    client = stack.client()
    answer = {"role": "assistant", "content": "zebra"}
    lines = [{"messages": [*asked(WORDS[at % 8], at // 8), answer]} for at in range(24)]
    data = "\n".join(map(json.dumps, lines)).encode()
    file = client.files.create(file=("examples.jsonl", data), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model=CHAT,
        training_file=file.id,
        suffix="zebra",
        seed=1,
        method={
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 4, "learning_rate_multiplier": 5}},
        },
    )

    def ended() -> Any:
        found = client.fine_tuning.jobs.retrieve(job.id)
        return found if found.status in ENDED else None

    done = until(ended, "the job's end", seconds=800)
    assert done.status == "succeeded", done.error
    name = done.fine_tuned_model
    assert name is not None
    assert name in {model.id for model in client.models.list()}

    def says(model: str) -> str:
        made: Any = asked("silver", 7)  # Was in no example.
        found = client.chat.completions.create(model=model, messages=made, temperature=0, max_tokens=4)
        return str(found.choices[0].message.content)

    assert says(name).strip() == "zebra"
    assert "zebra" not in says(CHAT)
    losses = [
        each.metrics.valid_loss for each in client.fine_tuning.jobs.checkpoints.list(job.id, limit=10).data
    ]
    assert losses[0] is not None
    assert losses[-1] is not None
    assert losses[0] < losses[-1]
    assert client.files.content(done.result_files[0]).text.startswith("step,train_loss")
