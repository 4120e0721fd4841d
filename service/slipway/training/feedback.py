"""What users said of answers, as data to learn from and as a sign of drift.

Only what somebody agreed to is looked at: feedback that came with its conversation. Texts are redacted before
they are written; the request's id stays beside them as a field, and never in them, so that a row's way can be
found. Whose feedback it was is left out.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from slipway.training.drift import Profile, Ratings, Shift, shifts
from slipway.training.errors import DataError

Form = Literal["chat", "preference"]
Said = Mapping[str, Any]
"""One entry of `GET /v1/feedback`."""
_ROLES = ("system", "developer", "user", "assistant")
_FEW = 20
"""Ratings of before below which a fall of them is not looked for."""


@dataclass(slots=True)
class Collected:
    """What came of feedback."""

    written: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """What was of no use, by the reason."""
    redacted: Counter[str] = field(default_factory=Counter)
    """Rows in which personal data was found, by its kind."""


class _UselessError(Exception):
    """This entry teaches nothing; the message says why."""


def collect(
    said: Iterable[Said], form: Form, redact: Callable[[str], tuple[str, set[str]]], path: Path
) -> Collected:
    """Write a source file of a dataset, one JSON object a line.

    chat        the conversation with the corrected answer, or with the answer as it was if it was rated up
    preference  the corrected answer as `chosen`, the one that was given as `rejected`

    Args:
        said: feedback, newest first; of one request the newest counts
        redact: a text without personal data, and the kinds that were in it
        path: of the file, which must not be there; it is there only when it is whole

    Raises:
        DataError: the file is there already, or cannot be written.
    """
    if path.exists():
        raise DataError(f"{path} is there already; name another file.")
    collected = Collected()
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            for row in _rows(said, form, redact, collected):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return collected


def _rows(
    said: Iterable[Said],
    form: Form,
    redact: Callable[[str], tuple[str, set[str]]],
    collected: Collected,
) -> Iterator[dict[str, Any]]:
    seen: set[tuple[Any, Any]] = set()
    for each in said:
        # Clients may choose ids, so two owners' requests can have the same one.
        request = (each.get("owner"), each.get("request_id"))
        try:
            if request in seen:
                raise _UselessError("newer feedback on the same request is there")
            row = _row(each, form)
        except _UselessError as why:
            collected.skipped[str(why)] += 1
            continue
        seen.add(request)
        kinds: set[str] = set()
        for turn in row["messages"]:
            turn["content"] = _redacted(turn["content"], redact, kinds)
        for name in ("chosen", "rejected"):
            if name in row:
                row[name] = _redacted(row[name], redact, kinds)
        collected.redacted.update(kinds)
        collected.written += 1
        yield row


def _row(said: Said, form: Form) -> dict[str, Any]:
    """A line of the file, not redacted yet."""
    asked, given = _conversation(said)
    expected = (said.get("expected") or "").strip()
    lineage = {
        "request_id": said.get("request_id"),
        "feedback_id": said.get("id"),
        "model": said.get("model"),
        "rating": said.get("rating"),
    }
    if form == "preference":
        if not expected:
            raise _UselessError("no better answer was given")
        if not given:
            raise _UselessError("the answer that was given is not in the conversation")
        if expected == given.strip():
            raise _UselessError("the better answer is the one that was given")
        return {"messages": asked, "chosen": expected, "rejected": given, **lineage}
    answer = expected or (given if said.get("rating") == "up" else "")
    if not answer:
        bad = said.get("rating") != "up"
        raise _UselessError(
            "rated down, and no better answer was given"
            if bad
            else "the answer that was given is not in the conversation"
        )
    corrected = "yes" if expected else "no"
    return {
        "messages": [*asked, {"role": "assistant", "content": answer}],
        "corrected": corrected,
        **lineage,
    }


def _conversation(said: Said) -> tuple[list[dict[str, str]], str]:
    """What was asked, and the answer that was given; the latter may be missing."""
    messages = said.get("messages")
    if not messages:
        raise _UselessError("its conversation was not agreed to be kept")
    if any(turn.get("role") not in _ROLES for turn in messages):
        raise _UselessError("its conversation holds messages of tools")
    turns = [{"role": turn["role"], "content": turn.get("content") or ""} for turn in messages]
    given = turns.pop()["content"] if turns[-1]["role"] == "assistant" else ""
    if not any(turn["role"] == "user" and turn["content"].strip() for turn in turns):
        raise _UselessError("its conversation asks nothing")
    return turns, given


def _redacted(text: str, redact: Callable[[str], tuple[str, set[str]]], kinds: set[str]) -> str:
    text, found = redact(text)
    kinds.update(found)
    return text


@dataclass(frozen=True, slots=True)
class Watched:
    """Whether what users send, or how they rate answers, has changed since a model's data was prepared."""

    shifts: list[Shift]
    inputs: int
    """Conversations that were compared."""
    ratings: Ratings | None
    """None where there were too few ratings before."""

    @property
    def alarms(self) -> list[str]:
        """Sentences; none if nothing has changed."""
        found = [
            f"Inputs have drifted in their {shift.of}: PSI {shift.psi:.2f}, above {shift.bound:.2f}."
            for shift in self.shifts
            if shift.drifted
        ]
        if self.ratings is not None and self.ratings.falling:
            found.append(
                f"Ratings have fallen: {self.ratings.ups_seen} of {self.ratings.seen} are good since then,"
                f" {self.ratings.ups} of {self.ratings.all} were before."
            )
        return found

    def document(self) -> dict[str, Any]:
        """As JSON."""
        ratings = self.ratings
        return {
            "inputs": self.inputs,
            "shifts": [
                {"of": each.of, "psi": each.psi, "js": each.js, "bound": each.bound, "drifted": each.drifted}
                for each in self.shifts
            ],
            "ratings": ratings
            and {
                "before": {"up": ratings.ups, "all": ratings.all},
                "since": {"up": ratings.ups_seen, "all": ratings.seen},
                "falling": ratings.falling,
            },
            "alarms": self.alarms,
        }


def watch(
    said: Iterable[Said], trained: Profile, since: float, language: Callable[[str], str] | None = None
) -> Watched:
    """Compare feedback with what a model was trained on, and with the feedback before.

    Args:
        said: feedback, newest first; its conversations are looked at where they were agreed to be kept
        trained: of what the model was asked in training
        since: seconds since 1970; older feedback says how ratings were before
        language: gives a text's language
    """
    now = Profile()
    ups, all_, later = 0, 0, list[bool]()
    for each in said:
        up = each.get("rating") == "up"
        if each.get("created_at", 0) < since:
            ups, all_ = ups + up, all_ + 1
            continue
        later.append(up)
        try:
            asked, _ = _conversation(each)
        except _UselessError:
            continue
        text = asked_text(asked)
        now.add(text, None if language is None else language(text))
    ratings = Ratings(ups, all_) if all_ >= _FEW else None
    if ratings is not None:
        for up in reversed(later):
            ratings.add(up)
    return Watched(shifts(trained, now), now.texts, ratings)


def asked_text(messages: Iterable[Mapping[str, Any]]) -> str:
    """What a conversation asks, without the system's message and the answers."""
    return "\n".join(turn["content"] for turn in messages if turn["role"] == "user")
