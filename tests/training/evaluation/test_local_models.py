"""Models in folders beside Transformers itself and lm-evaluation-harness."""

import math
from pathlib import Path

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from slipway.training.errors import EvaluationError, Stopped
from slipway.training.evaluation.asking import Asked
from slipway.training.evaluation.examples import Task
from slipway.training.evaluation.models.folders import Folder
from slipway.training.evaluation.models.local import LocalModel
from slipway.training.evaluation.questions import Question, Reply
from training.evaluation.progress import Steps

TEXTS = ["the cat sat on the mat", "Paris", "a man and a woman " * 40, "what is the capital of France?"]


def local(folder: Path, task: Task = "generate") -> LocalModel:
    return LocalModel(Folder(folder), task)


def ask(model: LocalModel, questions: list[Question], folder: Path) -> list[Reply]:
    return Asked.of(model, folder, Steps()).ask(questions, "test")


def instances(kind: str, arguments: list[tuple[str, ...]]) -> list[Instance]:
    return [Instance(kind, {}, each, at) for at, each in enumerate(arguments)]


def test_answers_in_a_batch_are_the_models_own_greedy_ones(decoder: Path, answers: Path) -> None:
    prompts = ["the cat", "what is the capital of France? write the word", "a"]
    questions = [Question("generate", (("user", each),), max_tokens=12) for each in prompts]
    replies = ask(local(decoder), questions, answers)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(decoder), AutoTokenizer.from_pretrained(decoder)
    for prompt, reply in zip(prompts, replies, strict=True):
        ids = tokenizer(f"[user] {prompt}\n[assistant] ", return_tensors="pt").input_ids
        with torch.inference_mode():
            made = model.generate(ids, do_sample=False, max_new_tokens=12)[0, ids.shape[1] :]
        assert reply.text == tokenizer.decode(made, skip_special_tokens=True)
        assert 0 < reply.tokens <= 12


def test_likelihoods_of_answers_are_the_harnesss(decoder: Path, answers: Path) -> None:
    questions = [Question("likelihood", (("user", each[:30]),), continuation=each[:90]) for each in TEXTS]
    replies = ask(local(decoder), questions, answers)
    harness = HFLM(
        pretrained=AutoModelForCausalLM.from_pretrained(decoder),
        tokenizer=AutoTokenizer.from_pretrained(decoder),
    )
    encode = harness.tokenizer.encode
    pairs = [
        (("", ""), encode(f"[user] {each[:30]}\n[assistant] "), encode(each[:90], add_special_tokens=False))
        for each in TEXTS
    ]
    expected = harness._loglikelihood_tokens(pairs, disable_tqdm=True)
    assert [each.logprob for each in replies] == pytest.approx([each[0] for each in expected], abs=1e-3)


def test_likelihoods_of_texts_longer_than_the_model_reads_are_the_harnesss(
    decoder: Path, answers: Path
) -> None:
    replies = ask(
        local(decoder, "text"), [Question("likelihood", continuation=each) for each in TEXTS], answers
    )
    harness = HFLM(
        pretrained=AutoModelForCausalLM.from_pretrained(decoder),
        tokenizer=AutoTokenizer.from_pretrained(decoder),
    )
    expected = harness.loglikelihood_rolling(
        instances("loglikelihood_rolling", [(each,) for each in TEXTS]), True
    )
    assert max(each.tokens for each in replies) > 128
    assert [each.logprob for each in replies] == pytest.approx(expected, abs=1e-3)


def test_likelihoods_of_an_encoder_decoder_are_its_loss(encoder_decoder: Path, answers: Path) -> None:
    questions = [
        Question("likelihood", (("user", "the cat"),), continuation=each) for each in ("Paris", "a dog")
    ]
    replies = ask(local(encoder_decoder), questions, answers)
    model = AutoModelForSeq2SeqLM.from_pretrained(encoder_decoder)
    tokenizer = AutoTokenizer.from_pretrained(encoder_decoder)
    for question, reply in zip(questions, replies, strict=True):
        labels = tokenizer(question.continuation, add_special_tokens=False, return_tensors="pt").input_ids
        with torch.inference_mode():
            loss = model(
                input_ids=tokenizer("the cat", return_tensors="pt").input_ids, labels=labels
            ).loss.item()
        assert reply.tokens == labels.shape[1]
        assert reply.logprob == pytest.approx(-loss * reply.tokens, abs=1e-4)


def test_an_encoder_decoder_writes(encoder_decoder: Path, answers: Path) -> None:
    reply = ask(
        local(encoder_decoder), [Question("generate", (("user", "the cat"),), max_tokens=5)], answers
    )[0]
    assert not reply.error


def test_an_answer_that_was_begun_is_gone_on_with(decoder: Path, answers: Path) -> None:
    whole = ask(local(decoder), [Question("generate", (("user", "the cat"),), max_tokens=12)], answers)[
        0
    ].text
    begun = Question("generate", (("user", "the cat"), ("assistant", whole[:1])), max_tokens=6)
    tokenizer = AutoTokenizer.from_pretrained(decoder)
    model = AutoModelForCausalLM.from_pretrained(decoder)
    ids = tokenizer(f"[user] the cat\n[assistant] {whole[:1]}", return_tensors="pt").input_ids
    with torch.inference_mode():
        made = model.generate(ids, do_sample=False, max_new_tokens=6)[0, ids.shape[1] :]
    assert ask(local(decoder), [begun], answers)[0].text == tokenizer.decode(made, skip_special_tokens=True)


def test_labels_have_probabilities_whatever_they_are_batched_with(classifier: Path, answers: Path) -> None:
    questions = [
        Question("classify", text=each) for each in ("praise", "the cat sat on the mat and barked", "?")
    ]
    together = ask(local(classifier, "classify"), questions, answers / "1")
    alone = [
        ask(local(classifier, "classify"), [each], answers / str(at))[0]
        for at, each in enumerate(questions, 2)
    ]
    for one, other in zip(together, alone, strict=True):
        assert set(one.scores) == {"bug", "praise", "question"}
        assert sum(one.scores.values()) == pytest.approx(1)
        assert one.scores == pytest.approx(other.scores, abs=1e-5)
        assert one.text == max(one.scores, key=lambda label: one.scores[label])


def test_each_word_gets_one_tag_and_words_beyond_the_model_get_none(tagger: Path, answers: Path) -> None:
    words = ("Ann", "barked") * 60
    reply = ask(local(tagger, "tag"), [Question("tag", tokens=words)], answers)[0]
    assert len(reply.tags) == len(words)
    assert set(reply.tags) <= {"O", "B-PER", "I-PER"}
    assert set(reply.tags[-20:]) == {"O"}


def test_a_question_too_long_for_the_model_is_not_answered_and_the_others_are(
    decoder: Path, answers: Path
) -> None:
    questions = [Question("generate", (("user", text),), max_tokens=8) for text in ("a " * 300, "the cat")]
    long, short = ask(local(decoder), questions, answers)
    assert "are more than 128" in long.error
    assert not short.error


def test_nothing_is_asked_twice_after_a_stop(decoder: Path, answers: Path) -> None:
    questions = [Question("likelihood", (("user", text),), continuation="Paris") for text in TEXTS]
    steps = Steps(stop_after=2)
    with pytest.raises(Stopped):
        Asked.of(local(decoder), answers, steps).ask(questions, "test")
    again = Steps()
    replies = Asked.of(local(decoder), answers, again).ask(questions, "test")
    assert again.told[-1][2] == 2  # Two of four were kept.
    assert replies == ask(local(decoder), questions, answers)


def test_a_line_torn_by_a_kill_is_asked_again(decoder: Path, answers: Path) -> None:
    questions = [Question("likelihood", continuation=text) for text in TEXTS[:2]]
    model = local(decoder, "text")
    first = ask(model, questions, answers)
    path = answers / f"{model.identity}.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    again = ask(model, questions, answers)
    assert again[0] == first[0]
    assert again[1].logprob == pytest.approx(first[1].logprob)
    assert len(path.read_text().splitlines()) == 2


def test_trained_anew_in_the_same_folder_a_model_is_asked_anew(decoder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in decoder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    before = local(folder).identity
    assert before == local(folder).identity
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    assert before != local(folder).identity


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        EvaluationError, match=r"is no model: it has neither config.json nor adapter_config.json"
    ):
        local(tmp_path)


def test_a_model_without_a_head_for_labels_is_told(decoder: Path, answers: Path) -> None:
    with pytest.raises(EvaluationError, match="has no head that gives labels"):
        ask(local(decoder, "classify"), [Question("classify", text="a")], answers)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_an_adapter_is_put_over_its_base(decoder: Path, tmp_path: Path, answers: Path) -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(5)
    made = get_peft_model(
        AutoModelForCausalLM.from_pretrained(decoder),
        LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"),
    )
    made.save_pretrained(tmp_path / "adapter")
    question = Question("likelihood", (("user", "the cat"),), continuation="Paris")
    adapted = ask(LocalModel(Folder(tmp_path / "adapter", decoder), "generate"), [question], answers)[0]
    plain = ask(local(decoder), [question], answers)[0]
    assert adapted.logprob is not None
    assert plain.logprob is not None
    assert not math.isclose(adapted.logprob, plain.logprob, rel_tol=1e-3)
    # Its own files say what it lies over.
    found = ask(LocalModel(Folder(tmp_path / "adapter"), "generate"), [question], answers)[0]
    assert found.logprob == pytest.approx(adapted.logprob)
