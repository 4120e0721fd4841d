"""Duplicates are found, and no group is in two parts: over random sets of records, in any order."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.training.data.chunkwork import KEYS
from slipway.training.data.decisions import (
    EXACT,
    LEAK,
    NEAR,
    OPEN,
    TEST,
    TRAIN,
    VALIDATION,
    WEIGHT,
    Wanted,
    decide,
)
from slipway.training.data.duplicates import Piece, near
from slipway.training.data.fingerprints import BANDS, ROWS, signatures, template_of
from slipway.training.data.identities import key
from slipway.training.data.splits import Shares, assigned
from training.data.preparing import sentence

NONE = np.zeros(0, dtype=np.uint64)


def keys_of(texts: list[str], labels: list[str] | None = None, inputs: list[str] | None = None) -> np.ndarray:
    labels = labels or [""] * len(texts)
    rows = [
        (key(f"{text}|{label}"), key(f"{label}|{text}"), key(asked), 0, key(label), key(label))
        for text, label, asked in zip(texts, labels, inputs or texts, strict=True)
    ]
    return np.array(rows, dtype=KEYS)


def pieces_of(texts: list[str], folder: Path, cut: int) -> list[Piece]:
    found = []
    for at, part in enumerate((texts[:cut], texts[cut:])):
        if part:
            path = folder / f"{at}.signatures"
            signatures(part, NONE).reshape(-1, BANDS, ROWS).transpose(1, 0, 2).tofile(path)
            found.append(Piece(path, len(part)))
    return found


def wanted(**changed: object) -> Wanted:
    options = {"duplicates": True, "near": True, "threshold": 0.8, "shares": Shares(0.2, 0.2, 0)}
    return Wanted(**{**options, "weights": (1.0,), "fixed": (OPEN,), **changed})  # type: ignore[arg-type]


def fates(texts: list[str], folder: Path, **options: object) -> list[int]:
    labels = options.pop("labels", None)
    inputs = options.pop("inputs", None)
    sources = options.pop("sources", [0] * len(texts))
    decisions = decide(
        pieces_of(texts, folder, len(texts) // 2),
        keys_of(texts, labels, inputs),  # type: ignore[arg-type]
        np.array(sources, dtype=np.int32),
        wanted(**options),
    )
    return list(decisions.fate.tolist())


def test_near_duplicates_are_found_and_others_are_not(tmp_path: Path) -> None:
    long = " ".join(sentence(n) for n in range(5))
    texts = [long, long.replace("0", "0", 1) + " indeed", long.upper() + "!", sentence(50), sentence(51)]
    groups = near(pieces_of(texts, tmp_path, 2), keys_of(texts), np.zeros(5), np.ones(5, bool), 0.8)
    assert len(set(groups.similar[:3].tolist())) == 1
    assert len(set(groups.similar[2:].tolist())) == 3


def test_a_template_makes_no_duplicates() -> None:
    template = (
        "Read the following review of a customer and say whether it is positive or negative in one word only "
    )
    texts = [f"{template}: {sentence(n)}" for n in range(100)]
    plain, without = signatures(texts, NONE), signatures(texts, template_of(texts))

    def alike(found: np.ndarray) -> float:
        return float((found[:50] == found[50:]).mean())

    assert alike(plain) > 0.4
    assert alike(without) < 0.05


def test_texts_without_words_and_of_one_word_are_told_apart() -> None:
    found = signatures(["", "!!", "??", "word", "other", "word"], NONE)
    assert (found[3] == found[5]).all()
    assert not (found[1] == found[2]).all()
    assert not (found[3] == found[4]).all()


def test_one_of_each_group_stays(tmp_path: Path) -> None:
    long = " ".join(sentence(n) for n in range(5))
    found = fates([long, long, long + " indeed", sentence(9)], tmp_path, shares=Shares(0, 0, 0))
    assert sorted(found) == [TRAIN, TRAIN, EXACT, NEAR]
    assert found[3] == TRAIN


def test_equal_texts_with_other_labels_both_stay_and_together(tmp_path: Path) -> None:
    texts = [sentence(n // 2) for n in range(40)]
    found = fates(texts, tmp_path, labels=[str(n % 2) for n in range(40)])
    assert set(found) == {TRAIN, VALIDATION, TEST}
    assert all(found[at] == found[at + 1] for at in range(0, 40, 2))


def test_who_asks_the_same_is_in_one_part(tmp_path: Path) -> None:
    found = fates(
        [sentence(n) for n in range(60)], tmp_path, inputs=[f"question {n // 3}" for n in range(60)]
    )
    assert set(found) == {TRAIN, VALIDATION, TEST}
    assert all(len(set(found[at : at + 3])) == 1 for at in range(0, 60, 3))


def test_an_instruction_that_all_share_joins_nothing(tmp_path: Path) -> None:
    found = fates([sentence(n) for n in range(60)], tmp_path, inputs=["write something"] * 60)
    assert {fate: found.count(fate) for fate in set(found)} == {TRAIN: 36, VALIDATION: 12, TEST: 12}


def test_a_source_of_the_test_part_keeps_its_records_from_training(tmp_path: Path) -> None:
    texts = [sentence(n) for n in range(20)]
    found = fates(
        texts + texts[:5], tmp_path, sources=[0] * 20 + [1] * 5, weights=(1.0, 1.0), fixed=(OPEN, TEST)
    )
    assert found[20:] == [TEST] * 5
    assert found[:5] == [EXACT] * 5
    kept = fates(
        texts + texts[:5],
        tmp_path,
        sources=[0] * 20 + [1] * 5,
        weights=(1.0, 1.0),
        fixed=(TRAIN, TEST),
        duplicates=False,
    )
    assert kept[20:] == [TEST] * 5
    assert kept[:5] == [LEAK] * 5
    assert kept[5:20] == [TRAIN] * 15


def test_weights_take_part_of_a_source(tmp_path: Path) -> None:
    texts = [sentence(n) for n in range(400)]
    found = fates(texts, tmp_path, weights=(0.5,), shares=Shares(0, 0, 0))
    assert 150 < found.count(TRAIN) < 250
    assert found.count(WEIGHT) == 400 - found.count(TRAIN)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), min_size=1, max_size=200),
    st.floats(0, 0.4),
    st.floats(0, 0.4),
    st.integers(0, 5),
    st.randoms(use_true_random=False),
)
def test_any_split_keeps_groups_together_and_shares_exact(
    rows: list[tuple[int, int]], validation: float, test: float, seed: int, random: object
) -> None:
    shares = Shares(validation, test, seed)
    groups = np.array([group for group, _ in rows])
    identities = np.array([key(f"{at}") for at in range(len(rows))], dtype=np.uint64)
    strata = np.array([stratum for _, stratum in rows], dtype=np.uint64)
    parts = assigned(groups, identities, strata, shares)
    assert all(len(set(parts[groups == group].tolist())) == 1 for group in set(groups.tolist()))
    for part, share in ((VALIDATION, validation), (TEST, test)):
        few = len(set(groups.tolist())) < 3
        most = max(round(len(rows) * share), 1 if share and not few else 0)
        assert (parts == part).sum() <= most
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    again = assigned(groups[order], identities[order], strata[order], shares)
    assert (again == parts[order]).all()


@pytest.mark.parametrize("seed", range(3))
def test_each_class_is_in_each_part_in_its_share(seed: int) -> None:
    strata = np.array([0] * 800 + [1] * 150 + [2] * 50, dtype=np.uint64)
    identities = np.array([key(f"{seed}-{at}") for at in range(1000)], dtype=np.uint64)
    parts = assigned(np.arange(1000), identities, strata, Shares(0.1, 0.2, seed))
    assert [(strata[parts == VALIDATION] == of).sum() for of in range(3)] == [80, 15, 5]
    assert [(strata[parts == TEST] == of).sum() for of in range(3)] == [160, 30, 10]
