"""Models behind an address: the same replies as in a folder, through faults, without asking twice."""

from pathlib import Path

import pytest

from slipway.training.errors import EvaluationError, Stopped
from slipway.training.evaluation.asking import Asked
from slipway.training.evaluation.models.folders import Folder
from slipway.training.evaluation.models.local import LocalModel
from slipway.training.evaluation.models.served import ServedModel
from slipway.training.evaluation.questions import Question
from training.evaluation.progress import Steps
from training.evaluation.servers import Server, served

QUESTIONS = [Question("generate", (("user", f"the cat {number}"),), max_tokens=6) for number in range(12)]


def model(folder: Path) -> LocalModel:
    return LocalModel(Folder(folder), "generate")


def client(server: Server) -> ServedModel:
    return server.client("", key="secret", at_once=4)


def test_a_served_model_replies_as_the_same_model_in_a_folder(decoder: Path, answers: Path) -> None:
    questions = [
        *QUESTIONS,
        Question("likelihood", (("user", "the dog"),), continuation="barked"),
        Question("likelihood", continuation="the cat sat on the mat"),
    ]
    with served(model(decoder)) as server:
        asked = Asked.of(client(server), answers, Steps())
        assert asked.answerer.name == "tiny"
        assert asked.can("likelihood")
        there = asked.ask(questions, "test")
        assert server.most_at_once > 1
        assert server.keys == {"Bearer secret"}
    here = Asked.of(model(decoder), answers, Steps()).ask(questions, "test")
    assert [each.text for each in there] == [each.text for each in here]
    for one, other in zip(there[-2:], here[-2:], strict=True):
        assert one.tokens == other.tokens
        assert one.logprob == pytest.approx(other.logprob, abs=1e-3)


def test_faults_that_pass_cost_no_answer(decoder: Path, answers: Path) -> None:
    faults = {2: (429, {"Retry-After": "7"}), 4: (503, {}), 5: (0, {}), 7: (500, {}), 9: (502, {})}
    waits: list[float] = []
    with served(model(decoder), fault=lambda number, path: faults.get(number)) as server:
        replies = Asked.of(server.client(at_once=1, sleep=waits.append), answers, Steps()).ask(
            QUESTIONS, "test"
        )
    assert not any(each.error for each in replies)
    assert len(waits) == len(faults)
    assert max(waits) == 7  # The server's own word.


def test_answers_that_came_before_a_failure_are_not_paid_twice(decoder: Path, answers: Path) -> None:
    with served(model(decoder)) as server:
        server.fault = lambda number, path: (503, {}) if number > 7 else None
        asked = Asked.of(server.client(at_once=1, sleep=lambda _: None), answers, Steps())
        with pytest.raises(
            EvaluationError, match=r"answers 503: this is a test, 6 times; what was answered is kept"
        ):
            asked.ask(QUESTIONS, "test")
        kept = len(asked.kept.known)
        assert kept == 4  # The first three found out what the server can be asked.
        server.fault = lambda number, path: None
        server.calls.clear()
        Asked.of(server.client(at_once=1), answers, Steps()).ask(QUESTIONS, "test")
        assert server.calls["/v1/chat/completions"] == len(QUESTIONS) - kept + 3  # Three find out.


def test_a_stop_keeps_what_has_come(decoder: Path, answers: Path) -> None:
    with served(model(decoder)) as server:
        asked = Asked.of(client(server), answers, Steps(stop_after=5))
        with pytest.raises(Stopped):
            asked.ask(QUESTIONS, "test")
        assert len(Asked.of(client(server), answers, Steps()).kept.known) >= 5


def test_a_question_that_the_server_refuses_is_not_answered_and_the_others_are(
    decoder: Path, answers: Path
) -> None:
    with served(model(decoder)) as server:
        server.fault = lambda number, path: (400, {}) if number == 6 else None
        replies = Asked.of(server.client(at_once=1), answers, Steps()).ask(QUESTIONS, "test")
    assert [each.error for each in replies if each.error] == ["answers 400: this is a test"]


@pytest.mark.parametrize(
    ("status", "message"), [(401, "answers 401"), (404, "neither writes answers nor labels")]
)
def test_a_refusal_ends_it_at_once(decoder: Path, answers: Path, status: int, message: str) -> None:
    with served(model(decoder), fault=lambda number, path: (status, {})) as server:
        waits: list[float] = []
        with pytest.raises(EvaluationError, match=message):
            Asked.of(server.client(sleep=waits.append), answers, Steps()).ask(QUESTIONS, "test")
    assert not waits


def test_a_server_without_prompt_logprobs_tells_no_likelihood(decoder: Path, answers: Path) -> None:
    with served(model(decoder), logprobs=False) as server:
        asked = Asked.of(client(server), answers, Steps())
        assert not asked.can("likelihood")
        with pytest.raises(EvaluationError, match="tiny cannot be asked to tell the probability of a text"):
            asked.ask([Question("likelihood", continuation="a")], "test")


def test_a_served_classifier_labels(classifier: Path, answers: Path) -> None:
    own = LocalModel(Folder(classifier), "classify")
    question = Question("classify", text="the cat sat")
    with served(own, fault=lambda number, path: (404, {}) if "chat" in path else None) as server:
        asked = Asked.of(client(server), answers, Steps())
        assert asked.answerer.kinds() == {"classify"}
        reply = asked.ask([question], "test")[0]
    here = Asked.of(own, answers, Steps()).ask([question], "test")[0]
    assert reply.text == here.text
    assert reply.scores[reply.text] == pytest.approx(max(here.scores.values()))


def test_an_address_that_nobody_answers_at_is_told(answers: Path) -> None:
    with pytest.raises(EvaluationError, match=r"http://127.0.0.1:9/v1/models cannot be read"):
        ServedModel("http://127.0.0.1:9/v1")
