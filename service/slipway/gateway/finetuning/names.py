"""Names of fine-tuned models, `ft:BASE:OWNER:SUFFIX:ID` as OpenAI makes them, and whose they are."""

import re
from dataclasses import dataclass
from hashlib import sha256

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_OTHER = re.compile(r"[^A-Za-z0-9._-]+")
_ID = re.compile(r"[0-9a-f]{8}")
PREFIX = "ft:"


@dataclass(frozen=True, slots=True)
class Tuned:
    """What the name of a fine-tuned model says."""

    base: str
    owner: str
    """As `owner_part` writes it."""


def owner_part(owner: str) -> str:
    """The owner in a model's name. What does not fit there gets a digest, so that no two are one."""
    if _PLAIN.fullmatch(owner):
        return owner
    digest = sha256(owner.encode()).hexdigest()[:8]
    return f"{_OTHER.sub('-', owner).strip('-._')[:48] or 'owner'}-{digest}"


def model_name(base: str, owner: str, suffix: str | None, job: str) -> str:
    """The served name of what comes of a job."""
    return f"{PREFIX}{base}:{owner_part(owner)}:{suffix or ''}:{job[-8:]}"


def tuned(name: str) -> Tuned | None:
    """What `name` says if it is that of a fine-tuned model."""
    if not name.startswith(PREFIX):
        return None
    parts = name.removeprefix(PREFIX).rsplit(":", 3)
    if len(parts) != 4 or not _ID.fullmatch(parts[3]):
        return None
    return Tuned(parts[0], parts[1])
