"""Augmentations that models make: tiny ones with random weights, and a server."""

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from slipway.training.augmentation import augment
from slipway.training.augmentation.chatting import ChatModel
from slipway.training.errors import DataError, Stopped
from training.augmentation.conftest import Server, Work, record
from training.augmentation.test_making import REVIEWS, made_of, reviews, run, step

WORDS = [
    "the",
    "a",
    "movie",
    "film",
    "house",
    "river",
    "big",
    "good",
    "old",
    "late",
    "came",
    "answer",
    "person",
]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of a masked language model with random weights."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS, "##s", ".", "7"])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(
        zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True)
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)
    _seed()
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=64,
    )  # fmt: skip
    BertForMaskedLM(config).save_pretrained(folder)
    return folder.as_uri()


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of an encoder-decoder model with random weights."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    folder = tmp_path_factory.mktemp("t5")
    vocabulary = {word: index for index, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS, "paraphrase:"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)
    _seed()
    config = T5Config(
        vocab_size=len(vocabulary), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2,
        decoder_start_token_id=0,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder.as_uri()


def to_letters(number: int) -> str:
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def _seed() -> None:
    import torch

    torch.manual_seed(7)


def test_likely_words_take_the_place_of_masked_ones(work: Work, bert: str) -> None:
    text = "The movie came late 7 times. <NAME> not"
    made = made_of(
        run([record(text=text, label="x")], [step("masked-words", "5", model=bert, rate=0.25)], work)
    )
    assert made
    for child in made:
        before, after = text.split(), (child["text"] or "").split()
        assert len(after) == len(before)
        assert [after[4], *after[6:]] == ["7", "<NAME>", "not"]
        changed = [word for word, other in zip(after, before, strict=True) if word != other]
        assert changed
        assert {word.lower().strip(".") for word in changed} <= set(WORDS)


def test_likely_words_are_inserted(work: Work, bert: str) -> None:
    text = "The movie came late."
    for child in made_of(run([record(text=text, label="x")], [step("insert", "4", model=bert)], work)):
        after = (child["text"] or "").split()
        assert len(after) == 5
        assert not Counter(word.strip(".") for word in text.split()) - Counter(
            word.strip(".") for word in after
        )


def test_masked_tokens_keep_their_tags(work: Work, bert: str) -> None:
    tokens, tags = ["the", "movie", "Anna", "came"], ["O", "O", "B-PER", "O"]
    made = made_of(run([record(tokens=tokens, tags=tags)], [step("masked-words", "3", model=bert)], work))
    assert made
    for child in made:
        assert child["tags"] == tags
        assert (child["tokens"] or [])[2] == "Anna"
        assert len(child["tokens"] or []) == 4


def test_a_text_longer_than_the_model_reads_is_changed_where_it_reads(work: Work, bert: str) -> None:
    text = " ".join(["movie"] * 500)
    made = made_of(run([record(text=text, label="x")], [step("masked-words", model=bert, rate=0.5)], work))
    after = (made[0]["text"] or "").split()
    assert len(after) == 500
    assert set(after[100:]) == {"movie"}
    assert set(after[:50]) != {"movie"}


def test_what_models_make_depends_on_nothing_beside_the_record(tmp_path: Path, bert: str, t5: str) -> None:
    from slipway.training.workspaces import Workspace

    steps = [step("masked-words", "2", model=bert), step("paraphrase", "2", model=t5)]
    plain = [
        record(text=text, label="x") for text in ("the movie came late", "a good old house", "the big river")
    ]
    together = run(plain, steps, Work(Workspace(tmp_path / "a")))
    alone = [each for one in plain for each in run([one], steps, Work(Workspace(tmp_path / "b")))]
    assert together == alone
    assert {each["augmented"] for each in together} == {"", "masked-words", "paraphrase"}


def test_encoder_decoders_write_the_text_anew(work: Work, t5: str) -> None:
    plain = [record(text="the movie came late", label="x")]
    forth_and_back = step("back-translation", forward=t5, back=t5, maxTokens=8)
    for child in made_of(
        run(plain, [step("paraphrase", model=t5, prefix="paraphrase: "), forth_and_back], work)
    ):
        assert child["label"] == "x"
        assert {*(child["text"] or "").split()} <= {*WORDS, "paraphrase:", "<unk>"}


@pytest.mark.parametrize("name", ["masked-words", "paraphrase"])
def test_a_folder_without_such_a_model_is_refused(work: Work, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        run(reviews(), [step(name, model=(tmp_path / "empty").as_uri())], work)


def test_a_paraphrase_is_asked_of_the_api(
    work: Work, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    asked = step(
        "paraphrase", url=server.url, model="writer", keyVariable="MY_KEY", temperature=0.5, maxTokens=99
    )
    made = made_of(run(reviews(), [asked], work))
    assert [each["text"] for each in made] == [f"In other words: {text}" for text in REVIEWS]
    assert {each["augmented"] for each in made} == {"paraphrase"}
    assert server.keys == ["Bearer sk-secret"] * 4
    body = server.asked[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("writer", 0.5, 99)
    assert "Neither answer it" in body["messages"][0]["content"]
    assert len({body["seed"] for body in server.asked}) == 4


def test_a_back_translation_goes_there_and_back(work: Work, server: Server) -> None:
    def reply(body: dict[str, Any]) -> str:
        to = "German" if "into German" in body["messages"][0]["content"] else "English"
        return f"{to}({body['messages'][1]['content']})"

    server.reply = reply
    made = made_of(run(reviews()[:1], [step("back-translation", url=server.url, model="m")], work))
    assert made[0]["text"] == f"English(German({REVIEWS[0]}))"


def test_what_was_paid_for_is_not_asked_for_again(work: Work, server: Server) -> None:
    steps = [step("paraphrase", "2", url=server.url, model="writer", parallel=1)]
    server.reply = lambda body: f"{body['messages'][1]['content']} {to_letters(body['seed'])}"
    work.stop_after = 4
    with pytest.raises(Stopped):
        run(reviews(), steps, work)
    paid = len(server.asked)
    assert 0 < paid < 8
    work.stop_after = None
    first = run(reviews(), steps, work)
    assert len(server.asked) == 8
    assert run(reviews(), steps, work) == first
    assert len(server.asked) == 8
    other = [step("paraphrase", "2", url=server.url, model="writer", temperature=0.1)]
    run(reviews(), other, work)
    assert len(server.asked) == 16


def test_the_api_is_asked_for_several_texts_at_once_and_their_order_stays(work: Work, server: Server) -> None:
    together = threading.Barrier(4, timeout=20)

    def reply(body: dict[str, Any]) -> str:
        together.wait()
        return f"Again: {body['messages'][1]['content']}"

    server.reply = reply
    made = made_of(run(reviews(), [step("paraphrase", url=server.url, model="m", parallel=4)], work))
    assert [each["text"] for each in made] == [f"Again: {text}" for text in REVIEWS]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("Please send 2 films before {date}.", "a placeholder, an address, a number or code was lost"),
        (
            "Please send 3 films to <EMAIL_ADDRESS> before {date}",
            "a placeholder, an address, a number or code was lost",
        ),
        ("", "empty"),
        (REVIEWS[1], "the same as what is there"),
        (REVIEWS[1] + " and so on" * 100, "far longer than what it was made of"),
    ],
)
def test_what_does_not_say_the_same_is_left_out_and_counted(
    work: Work, server: Server, reply: str, reason: str
) -> None:
    server.reply = lambda body: reply
    refused: Counter[str] = Counter()
    run(reviews()[1:2], [step("paraphrase", url=server.url, model="m")], work, refused=refused)
    assert refused == {f"paraphrase: {reason}": 1}


def test_quotation_marks_around_the_reply_are_taken_off(work: Work, server: Server) -> None:
    server.reply = lambda body: ' "A big help it was." '
    made = made_of(run(reviews()[:1], [step("paraphrase", url=server.url, model="m")], work))
    assert made[0]["text"] == "A big help it was."


def test_a_busy_server_is_asked_again(server: Server) -> None:
    pauses: list[float] = []
    server.failures = [503, 429, 500]
    model = ChatModel(server.url, "m", temperature=0, max_tokens=9, key_variable="NONE", wait=pauses.append)
    assert model.write("Say it again.", "hello", 1) == "In other words: hello"
    assert pauses == [1.0, 2.0, 4.0]


def test_a_server_that_refuses_or_is_not_there_ends_it_with_the_reason(work: Work, server: Server) -> None:
    server.failures = [401]
    steps = [step("paraphrase", url=server.url, model="m")]
    with pytest.raises(DataError, match="answers 401") as refusal:
        list(augment(iter(reviews()), steps, 1, work))
    assert refusal.value.reason == "ModelFailed"
    model = ChatModel(
        "http://127.0.0.1:9/v1", "m", temperature=0, max_tokens=9, key_variable="", wait=lambda _: None
    )
    with pytest.raises(DataError, match="cannot be reached"):
        model.write("", "hello", 1)
