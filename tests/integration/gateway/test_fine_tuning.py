"""Fine-tuning jobs with OpenAI's client: a real gateway, and what the queue beside it writes."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.fine_tuning import FineTuningJob

from integration.gateway.clients import call, chat
from integration.gateway.conftest import Running, Start, StartUpstream
from integration.gateway.processes import Process
from integration.gateway.states import State
from integration.servers import own_postgres as own_postgres
from integration.servers import postgres_server as postgres_server
from slipway.gateway.finetuning.signing import Signing
from slipway.objects.loading import load_file

NAMES = ("validating_files", "queued", "running", "succeeded", "failed", "cancelled", "paused")


def example(number: int = 1) -> dict[str, Any]:
    asked = {"role": "user", "content": f"q{number}"}
    return {"messages": [asked, {"role": "assistant", "content": f"a{number}"}]}


def preferred(number: int) -> dict[str, Any]:
    return {
        "input": {"messages": [{"role": "user", "content": f"q{number}"}]},
        "preferred_output": [{"role": "assistant", "content": "good"}],
        "non_preferred_output": [{"role": "assistant", "content": "bad"}],
    }


def jsonl(*lines: object) -> bytes:
    return b"".join(
        (each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n" for each in lines
    )


GOOD = jsonl(*map(example, range(12)))


@pytest.fixture
async def client() -> AsyncIterator[Any]:
    opened: list[AsyncOpenAI] = []

    def make(port: int, token: str = "sk-test") -> AsyncOpenAI:
        opened.append(AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=token, max_retries=0))
        return opened[-1]

    yield make
    for each in opened:
        await each.close()


async def file_of(client: AsyncOpenAI, content: bytes = GOOD, purpose: str = "fine-tune") -> str:
    return (await client.files.create(file=("in.jsonl", content), purpose=purpose)).id  # type: ignore[arg-type]


async def reached(client: AsyncOpenAI, job: str, *states: str) -> FineTuningJob:
    while True:
        try:
            found = await client.fine_tuning.jobs.retrieve(job)
        except openai.InternalServerError:  # The database is being opened.
            await asyncio.sleep(0.05)
            continue
        if found.status in states:
            return found
        assert found.status in NAMES
        await asyncio.sleep(0.02)


class Queue:
    """What the queue beside the gateway says of a job, written as it writes it."""

    def __init__(self, folder: Path, job: str) -> None:
        self.object = folder / "objects" / f"finetune-{job}.yaml"
        self.examples = folder / "finetunes" / job
        self.run = folder / "run"
        self.run.mkdir(exist_ok=True)

    def fine_tune(self) -> Any:
        (made,) = load_file(self.object).fine_tunes
        return made

    def say(self, phase: str, **status: Any) -> None:
        document = {"run": str(self.run), "status": {"phase": phase, **status}}
        new = self.examples / "status.new"
        new.write_text(json.dumps(document))
        new.replace(self.examples / "status.json")


async def queued(
    start: Start, client: Any, content: bytes = GOOD, **asked: Any
) -> tuple[Running, AsyncOpenAI, FineTuningJob, Queue]:
    running = await start()
    own = client(running.port)
    await running.until(lambda: running.gateway.database.migrated)
    made = await own.fine_tuning.jobs.create(
        **{"model": "m", "training_file": await file_of(own, content), **asked}
    )
    assert made.status == "validating_files"
    job = await reached(own, made.id, "queued")
    return running, own, job, Queue(running.state.folder, job.id)


def examples_of(source: Any) -> list[Any]:
    lines = Path(source.source.removeprefix("file://")).read_text().splitlines()
    return [json.loads(line) for line in lines]


def now() -> str:
    return datetime.now(UTC).isoformat()


async def test_a_job_goes_from_its_file_to_a_model_that_can_be_called(
    start: Start, start_upstream: StartUpstream, client: Any
) -> None:
    running, own, job, queue = await queued(
        start,
        client,
        suffix="tone",
        seed=7,
        metadata={"team": "search"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
    )
    upstream = await start_upstream()
    running.state.endpoints(m=[upstream.address])

    made = queue.fine_tune()
    assert made.spec.base_model.source == "hf://org/model"
    assert (made.spec.hyperparameters.epochs, made.spec.hyperparameters.seed) == (2, 7)
    assert made.spec.dataset.format == "chat"
    assert examples_of(made.spec.dataset.sources[0]) == [example(number) for number in range(12)]
    name = made.spec.deploy.name
    assert name.startswith("ft:m:default:tone:")
    assert made.spec.deploy.service == "m"

    queue.say("Training", startedAt=now(), progress={"step": 1, "totalSteps": 4, "etaSeconds": 60})
    during = await reached(own, job.id, "running")
    assert during.estimated_finish is not None
    assert during.estimated_finish > during.created_at
    assert during.fine_tuned_model is None
    events = [{"at": now(), "level": "info", "message": "train begins."}]
    metrics = [
        {"at": 1.0, "step": 1, "loss": 2.5},
        {"at": 2.0, "step": 2, "loss": 1.5},
        {"at": 2.5, "step": 2, "eval_loss": 1.25},
    ]
    (queue.run / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))
    (queue.run / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in metrics) + '{"at"')
    queue.say("Succeeded", startedAt=now(), completedAt=now(), metrics={"tokens": "1234"})
    running.state.adapters("m", (name, "tone.v1", 100))
    done = await reached(own, job.id, "succeeded")

    assert done.fine_tuned_model == name
    assert done.trained_tokens == 1234
    assert done.finished_at is not None
    assert done.hyperparameters.n_epochs == 2
    assert done.metadata == {"team": "search"}
    assert not (queue.examples / "training.jsonl").exists()
    table = (await own.files.content(done.result_files[0])).text.splitlines()
    assert table[:2] == ["step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy", "1,2.5,,,"]

    told = await own.fine_tuning.jobs.list_events(job.id, limit=100)
    messages = [each.message for each in told.data]
    assert messages[0] == "The job has successfully completed"
    assert "train begins." in messages
    assert f"New fine-tuned model created: {name}" in messages
    steps = [each.data for each in told.data if each.type == "metrics"]
    assert {"step": 1, "train_loss": 2.5} in steps
    checkpoints = await own.fine_tuning.jobs.checkpoints.list(job.id)
    assert [(each.step_number, each.metrics.valid_loss) for each in checkpoints.data] == [(2, 1.25)]

    said = await own.chat.completions.create(model=name, messages=[{"role": "user", "content": "hi"}])
    assert said.choices[0].message.content == "Hello"
    assert upstream.requests[-1].json["model"] == "tone.v1"


async def test_what_was_fine_tuned_is_its_owners(
    start: Start, start_upstream: StartUpstream, client: Any
) -> None:
    running, own, job, queue = await queued(start, client)
    upstream = await start_upstream()
    running.state.endpoints(m=[upstream.address])
    running.state.key("narrow", "sk-narrow", models=["m"])
    running.state.key("other", "sk-other", owner="ads")
    name = queue.fine_tune().spec.deploy.name
    running.state.adapters("m", (name, "x.v1", 100))
    await running.until(lambda: name in running.gateway.catalog.snapshot.models)
    await running.until(lambda: running.gateway.catalog.snapshot.keyring.named("other") is not None)

    body = chat() | {"model": name}
    assert (await running.call("/v1/chat/completions", body)).status == 200
    # A key for the base model may call what its own owner made of it.
    assert (await running.call("/v1/chat/completions", body, key="sk-narrow")).status == 200
    assert (await running.call("/v1/chat/completions", body, key="sk-other")).status == 404
    listed = (await running.call("/v1/models", key="sk-other")).json["data"]
    assert name not in [each["id"] for each in listed]

    other = client(running.port, "sk-other")
    for operation in (
        other.fine_tuning.jobs.retrieve,
        other.fine_tuning.jobs.cancel,
        other.fine_tuning.jobs.pause,
        other.fine_tuning.jobs.resume,
        other.fine_tuning.jobs.list_events,
        other.fine_tuning.jobs.checkpoints.list,
    ):
        with pytest.raises(openai.NotFoundError):
            await operation(job.id)
    assert (await other.fine_tuning.jobs.list()).data == []
    with pytest.raises(openai.NotFoundError):
        await other.fine_tuning.jobs.create(model="m", training_file=job.training_file)
    assert (await own.fine_tuning.jobs.list()).data[0].id == job.id


async def test_mistakes_are_told_by_their_lines(start: Start, client: Any) -> None:
    running = await start()
    own = client(running.port)
    await running.until(lambda: running.gateway.database.migrated)
    wrong = jsonl(
        example(),
        b"{",
        {"messages": [{"role": "user", "content": "no answer"}]},
        b"",
        {"messages": [{"role": "robot", "content": "x"}]},
        {**example(), "extra": 1},
    )
    made = await own.fine_tuning.jobs.create(model="m", training_file=await file_of(own, wrong))
    failed = await reached(own, made.id, "failed")
    assert failed.error is not None
    assert (failed.error.code, failed.error.param) == ("invalid_training_file", "training_file")
    assert failed.error.message == (
        "line 2: is not valid JSON (column 2); "
        "line 3: `messages` must end with a message of the role `assistant`; "
        "line 5: `messages[0].role` must be one of `system`, `developer`, `user`, `assistant`; "
        "line 6: `extra` is not a field of an example."
    )
    assert failed.finished_at is not None
    assert not Queue(running.state.folder, made.id).object.exists()


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "0 examples"), (jsonl(example()), "1 examples")], ids=["empty", "one"]
)
async def test_too_few_examples_are_refused(start: Start, client: Any, content: bytes, said: str) -> None:
    running = await start()
    own = client(running.port)
    await running.until(lambda: running.gateway.database.migrated)
    made = await own.fine_tuning.jobs.create(model="m", training_file=await file_of(own, content))
    failed = await reached(own, made.id, "failed")
    assert failed.error is not None
    assert said in failed.error.message


async def test_preferences_are_learned_with_a_validation_file(start: Start, client: Any) -> None:
    running = await start()
    own = client(running.port)
    await running.until(lambda: running.gateway.database.migrated)
    training, validation = jsonl(*map(preferred, range(10))), jsonl(preferred(99))
    made = await own.fine_tuning.jobs.create(
        model="m",
        training_file=await file_of(own, training),
        validation_file=await file_of(own, validation),
        method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2, "n_epochs": "auto"}}},
    )
    assert made.method is not None
    assert made.method.dpo is not None
    assert made.method.dpo.hyperparameters is not None
    assert made.method.dpo.hyperparameters.beta == 0.2
    await reached(own, made.id, "queued")
    found = Queue(running.state.folder, made.id).fine_tune().spec
    assert (found.dataset.format, found.hyperparameters.beta.number) == ("preference", 0.2)
    assert [source.part for source in found.dataset.sources] == [None, "validation"]
    assert examples_of(found.dataset.sources[1]) == [
        {"messages": [{"role": "user", "content": "q99"}], "chosen": "good", "rejected": "bad"}
    ]


async def test_a_job_is_paused_resumed_and_cancelled(start: Start, client: Any) -> None:
    running, own, job, queue = await queued(start, client)
    queue.say("Training", startedAt=now())
    await reached(own, job.id, "running")

    assert (await own.fine_tuning.jobs.pause(job.id)).status == "paused"  # type: ignore[comparison-overlap]
    await running.until(lambda: queue.fine_tune().spec.suspend)
    queue.say("Suspended", startedAt=now())
    assert (await own.fine_tuning.jobs.retrieve(job.id)).status == "paused"  # type: ignore[comparison-overlap]
    assert (await own.fine_tuning.jobs.resume(job.id)).status == "queued"
    await running.until(lambda: not queue.fine_tune().spec.suspend)
    queue.say("Training", startedAt=now())
    await reached(own, job.id, "running")

    ended = await own.fine_tuning.jobs.cancel(job.id)
    assert ended.status == "cancelled"
    assert ended.finished_at is not None
    await running.until(lambda: queue.fine_tune().spec.cancel)
    for change in (own.fine_tuning.jobs.cancel, own.fine_tuning.jobs.pause, own.fine_tuning.jobs.resume):
        with pytest.raises(openai.BadRequestError) as refused:
            await change(job.id)
        assert refused.value.code == "wrong_job_state"
    queue.say("Cancelled", startedAt=now())
    await running.until(lambda: not (queue.examples / "training.jsonl").exists())


async def test_a_gate_that_holds_fails_the_job_with_its_reason(start: Start, client: Any) -> None:
    _, own, job, queue = await queued(start, client)
    why = "accuracy 0.4, not 0.9"
    stage = {"name": "evaluate", "state": "Failed", "reason": "GateFailed", "message": why}
    queue.say("Failed", startedAt=now(), completedAt=now(), stages=[stage])
    failed = await reached(own, job.id, "failed")
    assert failed.error is not None
    assert (failed.error.code, failed.error.message) == ("gate_failed", why)


async def test_an_owner_has_so_many_jobs_at_once(start: Start, client: Any) -> None:
    running = await start(fine_tuning_jobs=1)
    own = client(running.port)
    await running.until(lambda: running.gateway.database.migrated)
    file = await file_of(own)
    first = await own.fine_tuning.jobs.create(model="m", training_file=file)
    with pytest.raises(openai.RateLimitError):
        await own.fine_tuning.jobs.create(model="m", training_file=file)
    with pytest.raises(openai.BadRequestError) as used:
        await own.files.delete(file)
    assert used.value.code == "file_in_use"
    await own.fine_tuning.jobs.cancel(first.id)
    await own.fine_tuning.jobs.create(model="m", training_file=file)


async def test_jobs_are_listed_by_pages_and_labels(start: Start, client: Any) -> None:
    running = await start(fine_tuning_jobs=9)
    own = client(running.port)
    await running.until(lambda: running.gateway.database.migrated)
    file = await file_of(own)
    made = [
        (
            await own.fine_tuning.jobs.create(
                model="m", training_file=file, metadata={"half": str(number % 2)}
            )
        ).id
        for number in range(5)
    ]
    assert [each.id async for each in own.fine_tuning.jobs.list(limit=2)] == made[::-1]
    odd = own.fine_tuning.jobs.list(limit=1, metadata={"half": "1"})
    assert [each.id async for each in odd] == [made[3], made[1]]
    events = own.fine_tuning.jobs.list_events(made[0], limit=1)
    assert "Created fine-tuning job" in [each.message async for each in events][-1]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"model": "e"}, "model"),
        ({"model": "m-sql"}, "model"),
        ({"suffix": "a b"}, "suffix"),
        ({"seed": -1}, "seed"),
        ({"method": {"type": "reinforcement"}}, "method.type"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "x"}}]}, "integrations"),
    ],
    ids=str,
)
async def test_what_is_not_offered_is_refused_by_its_field(
    start: Start, client: Any, asked: dict[str, Any], param: str
) -> None:
    running = await start()
    own = client(running.port)
    await running.until(lambda: running.gateway.database.migrated)
    with pytest.raises(openai.BadRequestError) as refused:
        await own.fine_tuning.jobs.create(**{"model": "m", "training_file": await file_of(own), **asked})
    assert refused.value.param == param
    with pytest.raises(openai.BadRequestError) as purpose:
        await own.fine_tuning.jobs.create(model="m", training_file=await file_of(own, purpose="batch"))
    assert purpose.value.code == "invalid_file_purpose"
    with pytest.raises(openai.NotFoundError):
        await own.fine_tuning.jobs.create(model="nobody", training_file=await file_of(own))


async def test_a_model_whose_engines_have_no_room_for_adapters_is_not_tuned(
    start: Start, client: Any
) -> None:
    running = await start()
    running.state.service("plain")
    own = client(running.port)
    await running.until(lambda: "plain" in running.gateway.catalog.snapshot.models)
    await running.until(lambda: running.gateway.database.migrated)
    with pytest.raises(openai.BadRequestError) as refused:
        await own.fine_tuning.jobs.create(model="plain", training_file=await file_of(own))
    assert (refused.value.code, refused.value.param) == ("not_offered", "model")
    assert "--enable-lora" in refused.value.message


async def test_the_audit_log_has_what_was_done(start: Start, client: Any) -> None:
    running, own, job, _ = await queued(start, client)
    await own.fine_tuning.jobs.cancel(job.id)
    running.state.key("boss", "sk-boss", role="admin")
    await running.until(lambda: running.gateway.catalog.snapshot.keyring.named("boss") is not None)
    rows = (await running.call("/v1/audit", key="sk-boss")).json["data"]
    assert [row["action"] for row in rows][:2] == ["fine_tuning_job.cancel", "fine_tuning_job.create"]
    assert {row["target"] for row in rows[:2]} == {job.id}


async def test_a_killed_gateways_job_goes_on_in_the_next(tmp_path: Path, client: Any) -> None:
    state = State(tmp_path / "state")
    state.service("m", engine={"args": ["--enable-lora"]})
    state.key()
    first = Process(state.folder, poll_interval=0.05)
    try:
        job = await created(client(await asyncio.to_thread(first.port)))
    finally:
        await asyncio.to_thread(first.kill)  # Wherever it was with it.
    second = Process(state.folder, poll_interval=0.05)
    try:
        own = client(await asyncio.to_thread(second.port))
        await reached(own, job, "queued")
        Queue(state.folder, job).say("Failed", completedAt=now())
        await reached(own, job, "failed")
    finally:
        await asyncio.to_thread(second.kill)


async def created(client: AsyncOpenAI) -> str:
    while True:
        try:
            return (await client.fine_tuning.jobs.create(model="m", training_file=await file_of(client))).id
        except openai.InternalServerError:  # The database is being made.
            await asyncio.sleep(0.05)


async def test_examples_are_read_at_signed_addresses_alone(start: Start, client: Any) -> None:
    running, _, job, _ = await queued(start, client)
    own = Signing(lambda: b"engine-secret")
    good = own.sign(job.id, "training", 2**33)

    def path(part: str = "training", expires: int = 2**33, signature: str = good) -> str:
        return f"/v1/fine_tuning/jobs/{job.id}/examples/{part}.jsonl?expires={expires}&signature={signature}"

    read = await running.call(path(), key=None)
    assert (read.status, read.body.count(b"\n")) == (200, 12)
    assert json.loads(read.body.splitlines()[0]) == example(0)
    for wrong in (
        path(expires=2**33 + 1),
        path(part="validation"),
        path(signature="0" * 64),
        path(expires=1, signature=own.sign(job.id, "training", 1)),
        path(signature=Signing(lambda: b"").sign(job.id, "training", 2**33)),
    ):
        assert (await running.call(wrong, key=None)).status == 404


async def test_reports_are_read_at_addresses_that_need_no_key(start: Start, client: Any) -> None:
    running, _, job, queue = await queued(start, client)
    workspace = running.state.folder
    queue.run = workspace / "runs" / job.id
    for folder in (queue.run / "evaluation", workspace / "datasets" / "d" / "v"):
        folder.mkdir(parents=True)
    (workspace / "datasets" / "d" / "v" / "report.html").write_text("<h1>Data</h1>")
    (workspace / "secret.html").write_text("no")
    (queue.run / "prepare.json").write_text(json.dumps({"result": {"dataset": "d/v"}}))
    (queue.run / "evaluate.json").write_text(json.dumps({"result": {"report": "runs/../../secret.html"}}))
    queue.say("Training", startedAt=now())
    listed = (await call(running.port, f"/v1/fine_tuning/jobs/{job.id}/reports")).json["data"]
    assert [(each["id"], each["title"]) for each in listed] == [("data", "The data")]
    shown = await call(running.port, f"/{listed[0]['url']}", key=None)
    assert (shown.status, shown.body) == (200, b"<h1>Data</h1>")
    assert shown.headers["content-type"].startswith("text/html")
    assert "sandbox" in shown.headers["content-security-policy"]
    assert "script-src" not in shown.headers["content-security-policy"]
    other = listed[0]["url"].replace("reports/data", "reports/evaluation")
    assert (await call(running.port, f"/{other}", key=None)).status == 404


async def test_the_same_in_postgresql(start: Start, client: Any, own_postgres: Any) -> None:
    running = await start(database_url=own_postgres.new_database(), fine_tuning_jobs=9)
    own = client(running.port)
    await running.until(lambda: running.gateway.database.migrated)
    file = await file_of(own)
    made = [
        (await own.fine_tuning.jobs.create(model="m", training_file=file, metadata={"n": str(at)})).id
        for at in range(3)
    ]
    assert [each.id async for each in own.fine_tuning.jobs.list(limit=2)] == made[::-1]
    assert [each.id async for each in own.fine_tuning.jobs.list(metadata={"n": "1"})] == [made[1]]
    await reached(own, made[0], "queued")
    queue = Queue(running.state.folder, made[0])
    queue.say("Training", startedAt=now())
    await reached(own, made[0], "running")
    await own.fine_tuning.jobs.pause(made[0])
    await running.until(lambda: queue.fine_tune().spec.suspend)
    await own.fine_tuning.jobs.resume(made[0])
    queue.say("Succeeded", completedAt=now(), metrics={"tokens": "7"})
    name = queue.fine_tune().spec.deploy.name
    running.state.adapters("m", (name, "x.v1", 100))
    assert (await reached(own, made[0], "succeeded")).trained_tokens == 7
    assert (await own.fine_tuning.jobs.cancel(made[1])).status == "cancelled"
