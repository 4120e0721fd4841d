"""What an annotation asks of a key: a new secret once, and how long the one before works on."""

import pytest

from slipway.objects import ROTATE_KEY, ROTATION_OVERLAP, APIKey


def key(handled: str | None = None, **annotations: str) -> APIKey:
    return APIKey.model_validate(
        {"metadata": {"name": "k", "annotations": annotations}, "status": {"handledRotation": handled}}
    )


def test_each_value_asks_for_a_rotation_once() -> None:
    assert key().rotation is None
    assert key(**{ROTATE_KEY: "1"}).rotation == "1"
    assert key("1", **{ROTATE_KEY: "1"}).rotation is None
    assert key("1", **{ROTATE_KEY: "2"}).rotation == "2"


def test_the_key_before_works_on_for_a_day_or_as_long_as_is_said() -> None:
    assert key().rotation_overlap.seconds == 86_400
    assert key(**{ROTATION_OVERLAP: "0s"}).rotation_overlap.seconds == 0
    with pytest.raises(ValueError, match="write a duration such as 24h"):
        _ = key(**{ROTATION_OVERLAP: "soon"}).rotation_overlap
