"""What speaks against training on a dataset."""

from collections import Counter
from typing import Any

import pytest
from scipy.stats.contingency import association

from slipway.training.exploration.counting import Repeats
from slipway.training.exploration.statistics import PartStatistics, Statistics, _count
from slipway.training.exploration.warnings import cramers_v, evenness, warnings

Row = dict[str, Any]


def statistics(train: list[Row], test: list[Row] | None = None) -> Statistics:
    """Statistics of rows of a classification: their label and fields."""
    parts = {"train": PartStatistics(), "validation": PartStatistics(), "test": PartStatistics()}
    for part, rows in (("train", train), ("test", test or [])):
        for row in rows:
            fields = {name: value for name, value in row.items() if name != "label"}
            record: Any = {
                "format": "classification",
                "source": "a",
                "augmented": "",
                "text": "some words",
                "label": row.get("label", "x"),
                "slices": fields,
            }
            _count(parts[part], record)
    return Statistics(parts, Repeats(), Repeats(), {})  # type: ignore[arg-type]


def said(train: list[Row], test: list[Row] | None = None) -> str:
    return "\n".join(warnings(statistics(train, test)))


def rows(count: int, **fields: str) -> list[Row]:
    return [{"label": "good" if at % 2 else "bad", **fields} for at in range(count)]


def test_a_dataset_with_nothing_wrong_gets_no_warning() -> None:
    train = rows(400, city="Ulm") + rows(300, city="Bonn")
    assert said(train, rows(50, city="Ulm") + rows(50, city="Bonn")) == ""


def test_groups_with_few_rows_are_named() -> None:
    text = said(rows(3000, city="Ulm") + rows(12, city="Bonn"))
    assert "`city`: hardly any training rows of Bonn (12 rows)" in text


def test_groups_that_a_part_lacks_are_named() -> None:
    text = said(rows(100, city="Ulm") + rows(100, city="Bonn"), rows(50, city="Ulm") + rows(9, city="Köln"))
    assert "`city`: in train and not in test: `Bonn`" in text
    assert "`city`: in test and not in train: `Köln`" in text


def test_labels_that_follow_from_a_group_are_selection_bias() -> None:
    train = [{"label": "bad" if at % 10 else "good", "city": "Bonn"} for at in range(200)]
    train += [{"label": "good" if at % 10 else "bad", "city": "Ulm"} for at in range(200)]
    text = said(train)
    assert (
        "`city` tells much of the label (Cramér's V 0.80): `bad` is 90% of `Bonn` and 10% of the rest" in text
        or ("`good` is 90% of `Ulm` and 10% of the rest" in text)
    )


def test_labels_by_chance_are_no_bias() -> None:
    train = [{"label": "good" if at % 2 else "bad", "city": f"c{at % 7}"} for at in range(350)]
    assert "tells much" not in said(train)


def test_fields_that_tell_rows_apart_are_no_groups() -> None:
    train = [{**row, "author": f"a{at}"} for at, row in enumerate(rows(200))]
    assert "author" not in said(train)


def test_a_field_that_many_rows_lack_is_named() -> None:
    assert "`city` is missing from 50% of the training rows" in said(rows(100, city="Ulm") + rows(100))


def test_unbalanced_seldom_and_missing_labels_are_named() -> None:
    train = [{"label": "good"}] * 500 + [{"label": "bad"}] * 5 + [{"label": "odd"}] * 40
    text = said(train, [{"label": "good"}] * 20 + [{"label": "new"}])
    assert "`good` occurs 500 times and `bad` 5 times" in text
    assert "Fewer than 10 examples in train of `bad`" in text
    assert "In test, and never in train: `new`" in text
    assert "In train, and never in test, so that nothing is known of them: `bad`, `odd`" in text


def test_leaks_and_contradictions_are_named() -> None:
    found = statistics(rows(100), rows(20))
    found.contents.add(1, 0, 0)
    found.contents.add(1, 2, 0)
    found.inputs.add(5, 0, 1)
    found.inputs.add(5, 0, 2)
    text = "\n".join(warnings(found))
    assert "1 records are in more than one part" in text
    assert "1 inputs occur with different labels or answers" in text


@pytest.mark.parametrize(
    "table", [[[90, 10], [10, 90]], [[30, 20, 10], [10, 40, 50]], [[5, 5], [4, 6], [50, 3]]]
)
def test_cramers_v_is_scipys_with_its_correction(table: list[list[int]]) -> None:
    counts = {f"g{at}": Counter({f"l{to}": n for to, n in enumerate(row)}) for at, row in enumerate(table)}
    plain = association(table, method="cramer")
    value, certain = cramers_v(counts)
    total, r, c = sum(map(sum, table)), len(table), len(table[0])
    squared = max(0.0, plain**2 * (min(r, c) - 1) - (r - 1) * (c - 1) / (total - 1))
    least = min(r - (r - 1) ** 2 / (total - 1), c - (c - 1) ** 2 / (total - 1)) - 1
    assert value == pytest.approx((squared / least) ** 0.5)
    assert certain


def test_evenness_is_one_for_equal_shares_and_none_for_one_label() -> None:
    assert evenness(Counter(a=5, b=5, c=5)) == pytest.approx(1)
    assert evenness(Counter(a=1000, b=1)) < 0.02
    assert evenness(Counter()) == 0
