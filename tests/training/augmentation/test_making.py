"""Records made of records: marked, seeded, true to what they teach."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from slipway.objects.datasets import AugmentationStep
from slipway.training.augmentation import augment
from slipway.training.augmentation.words import kept
from slipway.training.data.identities import record_id
from slipway.training.errors import DataError
from slipway.training.records import Record
from training.augmentation.conftest import Work, record

REVIEWS = [
    "This movie was a big help for my children on the long car journey home.",
    "Please send 2 films to <EMAIL_ADDRESS> before {date}, the customer cannot wait.",
    "I do not need another picture of the house near the river.",
    "The answer to my question came late but the person was kind.",
]


def step(name: str, share: str = "1", **options: Any) -> AugmentationStep:
    return AugmentationStep.model_validate({"name": name, "share": share, "options": options})


@pytest.fixture
def thesaurus(tmp_path: Path) -> str:
    file = tmp_path / "mine.json"
    words = {
        "movie": ["film", "motion picture"],
        "help": ["aid"],
        "car": ["automobile"],
        "films": ["movies"],
        "customer": ["client"],
        "picture": ["image"],
        "house": ["dwelling"],
        "question": ["query"],
        "person": ["human being", "soul"],
    }
    file.write_text(json.dumps(words))
    return file.as_uri()


def run(
    records: list[Record], steps: list[AugmentationStep], work: Work, seed: int = 1, **more: Any
) -> list[Record]:
    return list(augment(iter(records), steps, seed, work, **more))


def reviews() -> list[Record]:
    return [record(text=text, label="good") for text in REVIEWS]


def made_of(found: list[Record]) -> list[Record]:
    return [each for each in found if each["augmented"]]


@pytest.mark.parametrize("name", ["synonyms", "insert", "swap", "delete"])
def test_a_made_record_is_marked_and_keeps_place_label_and_slices(
    work: Work, thesaurus: str, name: str
) -> None:
    options = {"thesaurus": thesaurus} if name in ("synonyms", "insert") else {}
    found = run(reviews(), [step(name, **options)], work)
    made = made_of(found)
    assert [each for each in found if not each["augmented"]] == reviews()
    assert len(made) == len(REVIEWS)
    for parent, child in zip(reviews(), made, strict=True):
        assert child["augmented"] == name
        assert (child["source"], child["place"], child["label"]) == ("reviews", "reviews.jsonl:7", "good")
        assert child["slices"] == {"city": "Ulm"}
        assert child["id"] == record_id(child) != parent["id"]
        assert child["text"] != parent["text"]
        assert kept(child["text"] or "") == kept(parent["text"] or "")


def test_synonyms_take_the_place_of_words(work: Work, thesaurus: str) -> None:
    found = made_of(
        run([record(text="The movie!", label="x")], [step("synonyms", thesaurus=thesaurus)], work)
    )
    assert found[0]["text"] in ("The film!", "The motion picture!")


def test_insertion_adds_and_takes_nothing(work: Work, thesaurus: str) -> None:
    for parent, child in zip(
        reviews(), made_of(run(reviews(), [step("insert", thesaurus=thesaurus)], work)), strict=True
    ):
        missing = Counter((parent["text"] or "").split()) - Counter((child["text"] or "").split())
        assert not [word for word in missing if not word.endswith((".", ","))]


def test_swap_keeps_all_words_and_deletion_adds_none(work: Work) -> None:
    lowered = [Counter((each["text"] or "").lower().replace(".", "").split()) for each in reviews()]
    for parent, child in zip(lowered, made_of(run(reviews(), [step("swap")], work)), strict=True):
        assert Counter((child["text"] or "").lower().replace(".", "").split()) == parent
    for parent, child in zip(lowered, made_of(run(reviews(), [step("delete", rate=0.2)], work)), strict=True):
        assert Counter((child["text"] or "").lower().replace(".", "").split()) < parent
        assert "  " not in (child["text"] or "")


def test_negations_stay(work: Work) -> None:
    texts = [record(text="It is not good at all", label="bad")]
    for seed in range(20):
        for child in made_of(run(texts, [step("delete", rate=0.9), step("swap", rate=0.9)], work, seed)):
            assert (child["text"] or "").split().index("not") >= 0


def test_of_a_conversation_the_last_message_of_the_user_alone_is_changed(work: Work) -> None:
    messages = [
        {"role": "system", "content": "You help customers with films."},
        {"role": "user", "content": "Which picture is the best one?"},
        {"role": "assistant", "content": "Which picture do you mean, sir?"},
        {"role": "user", "content": "The picture of the house and the river."},
        {"role": "assistant", "content": "That picture is on the wall."},
    ]
    found = run([record(messages=messages)], [step("swap", "3"), step("delete", "3")], work)
    assert made_of(found)
    for child in made_of(found):
        after = child["messages"] or []
        assert after[:3] == messages[:3]
        assert after[4] == messages[4]
        assert after[3]["role"] == "user"
        assert after[3]["content"] != messages[3]["content"]
    assert found[0]["messages"] == messages


def test_the_answers_of_a_preference_stay(work: Work) -> None:
    asked = [{"role": "user", "content": "The picture of the house and the river."}]
    before = record(messages=asked, chosen="The house is big.", rejected="No picture here.") | {
        "format": "preference"
    }
    child = made_of(run([before], [step("swap")], work))[0]
    assert (child["chosen"], child["rejected"]) == (before["chosen"], before["rejected"])
    assert child["messages"] != asked


def test_tokens_keep_their_tags(work: Work, thesaurus: str) -> None:
    tokens = ["The", "movie", "of", "Anna", "Person", "."]
    tags = ["O", "O", "O", "B-PER", "I-PER", "O"]
    for child in made_of(
        run([record(tokens=tokens, tags=tags)], [step("synonyms", "4", thesaurus=thesaurus)], work)
    ):
        assert child["tokens"] == ["The", "film", "of", "Anna", "Person", "."]
        assert child["tags"] == tags


def test_what_would_part_tokens_from_tags_is_refused(work: Work) -> None:
    with pytest.raises(DataError, match="for the format tokens there are masked-words and synonyms"):
        run([record(tokens=["a", "b"], tags=["O", "O"])], [step("swap")], work)


def test_what_is_made_depends_on_nothing_beside_the_record(work: Work, thesaurus: str) -> None:
    steps = [step("synonyms", "0.5", thesaurus=thesaurus), step("swap", "1.5"), step("delete", "2")]
    together = {each["id"] for each in run(reviews(), steps, work)}
    alone = {each["id"] for one in reversed(reviews()) for each in run([one], steps, work)}
    assert together == alone
    assert together != {each["id"] for each in run(reviews(), steps, work, seed=2)}


def test_a_share_makes_so_many_records(work: Work) -> None:
    many = [
        record(text=f"The {number} answers to the long questions of people", label="x")
        for number in range(400)
    ]
    assert 160 < len(made_of(run(many, [step("swap", "0.5")], work))) < 240
    assert not made_of(run(many[:20], [step("swap", "0")], work))


def test_what_was_made_before_is_not_made_more_of(work: Work) -> None:
    child = made_of(run(reviews()[:1], [step("swap")], work))[0]
    assert run([child], [step("delete")], work) == [child]


def test_no_record_is_there_twice_and_what_is_left_out_is_counted(work: Work) -> None:
    refused: Counter[str] = Counter()
    records = [record(text=text, label="x") for text in ("two words", "one", "7")]
    found = run(records, [step("swap", "3")], work, refused=refused)
    assert [each["text"] for each in made_of(found)] == ["words two"]
    assert refused == {"swap: the same as what is there": 2, "swap: no word that could be changed": 6}


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            step("shuffle"),
            "no augmentation `shuffle`; there are back-translation, delete, insert, masked-words, paraphrase,"
            " swap, synonyms.",
        ),
        (step("swap", speed=1), "`swap` has no option `speed`; it has rate"),
        (step("swap", rate=0), "`swap` is told wrongly: `rate`: Input should be greater than 0"),
        (step("masked-words"), "`masked-words` needs the option `model`"),
        (step("synonyms", thesaurus="mine.json"), "`thesaurus`: String should match pattern"),
        (step("paraphrase", url="http://a/v1"), "`paraphrase` needs the option `model`"),
        (step("back-translation"), "`back-translation` is told wrongly: give `url`"),
        (step("back-translation", url="http://a/v1"), "give `url`"),
        (step("paraphrase", model="m", maxLength=3), "it has url, temperature, maxTokens, keyVariable"),
    ],
)
def test_an_unknown_step_or_option_is_refused_at_once(
    work: Work, asked: AugmentationStep, sentence: str
) -> None:
    with pytest.raises(DataError) as refusal:
        augment(iter(reviews()), [asked], 1, work)
    assert sentence in str(refusal.value)


def test_options_may_be_decimals_as_text(work: Work) -> None:
    assert made_of(run(reviews(), [step("delete", rate="0.3")], work))
