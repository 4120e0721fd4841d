"""A key is made once, rotated once for each time that is asked, and lost nowhere the operator is killed."""

import base64
import itertools
from typing import Any

import pytest

from slipway.objects import APIKey
from slipway.objects.plainkeys import key_hash
from slipway_operator.keys import KeyPlan, plan_key

NOW = 1_000_000_000.0


class Cluster:
    """An APIKey and its Secret."""

    def __init__(self, **spec: Any) -> None:
        self.parent: dict[str, Any] = {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "APIKey",
            "metadata": {"name": "k", "namespace": "n", "uid": "u", "generation": 1, "annotations": {}},
            "spec": {"owner": "o", **spec},
        }
        self.secret: dict[str, Any] | None = None
        self.now, self.made = NOW, itertools.count(1)

    def plan(self) -> KeyPlan:
        key = APIKey.model_validate(self.parent)
        return plan_key(key, self.parent, self.secret, self.now, lambda: f"plain-{next(self.made)}")

    def turn(self, *, killed_after_secret: bool = False) -> KeyPlan:
        made = self.plan()
        if made.secret is not None:
            self.secret = made.secret
        if not killed_after_secret:
            self.parent["status"] = dict(made.status)
        return made

    def rotate(self, value: str) -> None:
        self.parent["metadata"]["annotations"]["slipway.dev/rotate-key"] = value

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.parent["status"]
        return found

    @property
    def plain(self) -> str:
        assert self.secret is not None
        return base64.b64decode(self.secret["data"]["key"]).decode()

    @property
    def ready(self) -> tuple[str, str]:
        (found,) = self.status["conditions"]
        return found["status"], found["reason"]


def test_a_key_is_made_once() -> None:
    cluster = Cluster()
    first = cluster.turn()
    assert cluster.status["keyHash"] == key_hash("plain-1")
    assert (cluster.status["secretName"], cluster.ready) == ("apikey-k", ("True", "Active"))
    assert [event.reason for event in first.events] == ["Created"]
    before = cluster.status
    for _ in range(3):
        cluster.now += 100
        again = cluster.turn()
        assert (again.secret, again.events, dict(again.status)) == (None, (), before)


def test_a_status_never_holds_the_plain_key() -> None:
    cluster = Cluster()
    made = cluster.turn()
    assert "plain" not in str(made.status) + str(made.events)


def test_killed_between_secret_and_status_the_key_that_may_have_been_read_stays() -> None:
    cluster = Cluster()
    cluster.turn(killed_after_secret=True)
    assert "status" not in cluster.parent
    again = cluster.turn()
    assert again.secret is None
    assert cluster.status["keyHash"] == key_hash(cluster.plain) == key_hash("plain-1")


def test_a_secret_that_was_taken_away_is_not_made_anew() -> None:
    cluster = Cluster()
    cluster.turn()
    cluster.secret = None
    assert cluster.turn().secret is None
    assert cluster.status["keyHash"] == key_hash("plain-1")


@pytest.mark.parametrize("held", [None, {}, {"data": {}}, {"data": {"key": "%%%"}}, {"data": None}])
def test_a_secret_without_a_key_is_filled(held: Any) -> None:
    cluster = Cluster()
    cluster.secret = held
    cluster.turn()
    assert cluster.status["keyHash"] == key_hash(cluster.plain)


def test_a_rotation_makes_one_new_key_and_the_old_one_works_for_the_overlap() -> None:
    cluster = Cluster()
    cluster.turn()
    cluster.rotate("1")
    made = cluster.turn()
    assert cluster.plain == "plain-2"
    assert cluster.status["keyHash"] == key_hash("plain-2")
    assert cluster.status["previousKeyHash"] == key_hash("plain-1")
    assert cluster.status["handledRotation"] == "1"
    assert [event.reason for event in made.events] == ["Rotated"]
    assert made.again_after is not None
    assert cluster.turn().secret is None
    cluster.now += made.again_after + 1
    last = cluster.turn()
    assert last.again_after is None
    assert not {"previousKeyHash", "previousExpiresAt"} & cluster.status.keys()
    assert cluster.status["keyHash"] == key_hash("plain-2")


def test_killed_in_a_rotation_the_new_key_stays_the_new_one() -> None:
    cluster = Cluster()
    cluster.turn()
    cluster.rotate("1")
    cluster.turn(killed_after_secret=True)
    again = cluster.turn()
    assert again.secret is None
    assert cluster.status["keyHash"] == key_hash(cluster.plain) == key_hash("plain-2")
    assert cluster.status["previousKeyHash"] == key_hash("plain-1")


def test_each_rotation_is_carried_out_once() -> None:
    cluster = Cluster()
    cluster.turn()
    for value in ("1", "2"):
        cluster.rotate(value)
        cluster.turn()
        cluster.turn()
    assert cluster.plain == "plain-3"


def test_a_new_key_with_the_annotation_already_on_it_is_not_rotated() -> None:
    cluster = Cluster()
    cluster.rotate("1")
    cluster.turn()
    cluster.turn()
    assert (cluster.plain, cluster.status["handledRotation"]) == ("plain-1", "1")
    assert "previousKeyHash" not in cluster.status


def test_time_alone_makes_a_key_expire() -> None:
    cluster = Cluster(expiresAt="2001-09-09T01:48:20Z")  # A hundred seconds later.
    made = cluster.turn()
    assert (cluster.ready, made.again_after) == (("True", "Active"), 100.0)
    cluster.now += 100
    assert cluster.turn().again_after is None
    assert cluster.ready == ("False", "Expired")


def test_a_disabled_key_says_so() -> None:
    cluster = Cluster(disabled=True)
    cluster.turn()
    assert cluster.ready == ("False", "Disabled")


def test_the_secret_goes_with_the_key() -> None:
    cluster = Cluster()
    cluster.turn()
    assert cluster.secret is not None
    (owner,) = cluster.secret["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("APIKey", "u")
