"""Whose limits count for a call: its key's and its makers', all and on the model, and its owner's."""

from fnmatch import fnmatchcase

from slipway.gateway.auth import Key
from slipway.gateway.catalog import Snapshot
from slipway.gateway.limits.contract import UNLIMITED, Rates, Subject


def subjects_of(key: Key, model: str, snapshot: Snapshot) -> tuple[Subject, ...]:
    """The subjects that have limits; `model` is a name from the catalogue (so the memory of this is bounded).

    Remembered with the key, as long as its owner's object stays the same.
    """
    owner = snapshot.owners.get(key.owner)
    known = key.subjects.get(model)
    if known is not None and known[0] is owner:
        return known[1]
    found: list[Subject] = []
    for holder in (key, *key.makers):
        found.append(Subject(f"key/{holder.name}", "key", holder.name, Rates.of(holder.limits)))
        for each in holder.model_limits:
            if fnmatchcase(model, each.model):
                name = f"model/{model}@{holder.name}"
                found.append(Subject(name, "model", holder.name, Rates.of(each), model))
                break
    if owner is not None:
        found.append(Subject(f"owner/{key.owner}", "owner", key.owner, Rates.of(owner.spec.limits)))
    subjects = tuple(subject for subject in found if subject.rates != UNLIMITED)
    key.subjects[model] = (owner, subjects)
    return subjects
