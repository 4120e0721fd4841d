"""Which licence comes of a base model's and its data's. It warns; it is no lawyer.

Identifiers are SPDX's in lower case, as model cards have them, and those that
models bring (`llama3.1`, `gemma`).
"""

import re
from collections.abc import Iterable
from pathlib import Path

from slipway.training.registry.records import LicenceRecord

_PERMISSIVE = {
    "0bsd",
    "afl-3.0",
    "apache-2.0",
    "bsd",
    "bsd-2-clause",
    "bsd-3-clause",
    "bsl-1.0",
    "cc-by-2.0",
    "cc-by-2.5",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc0-1.0",
    "cdla-permissive-1.0",
    "cdla-permissive-2.0",
    "isc",
    "mit",
    "odc-by",
    "pddl",
    "unlicense",
    "wtfpl",
    "zlib",
}
_ALIKE = re.compile(r"(cc-by(-nc)?-sa|a?gpl|lgpl|odbl|gfdl|cdla-sharing|eupl|osl)")
_NOT_COMMERCIAL = re.compile(r"(^|-)nc(-|$)|non-?commercial|^fair-noncommercial|research-only")
_NO_DERIVATIVES = re.compile(r"(^|-)nd(-|$)")
_OWN_TERMS = re.compile(r"^(llama|gemma|openrail|bigscience|creativeml|deepfloyd|intel-research|apple-)|rail")
_TEXTS = (
    ("apache-2.0", re.compile(r"Apache License\s+Version 2\.0")),
    ("mit", re.compile(r"MIT License|Permission is hereby granted, free of charge")),
    ("cc0-1.0", re.compile(r"CC0 1\.0 Universal")),
    ("cc-by-nc-4.0", re.compile(r"Attribution-NonCommercial 4\.0")),
    ("cc-by-sa-4.0", re.compile(r"Attribution-ShareAlike 4\.0")),
    ("cc-by-4.0", re.compile(r"Attribution 4\.0 International")),
    ("agpl-3.0", re.compile(r"GNU AFFERO GENERAL PUBLIC LICENSE")),
    ("gpl-3.0", re.compile(r"GNU GENERAL PUBLIC LICENSE\s+Version 3")),
)
_LONGEST = 1 << 20


def spdx(name: str | None) -> str:
    """An identifier as model cards have it; empty where nothing, or nothing that says something, is named."""
    found = (name or "").strip().lower()
    return "" if found in ("unknown", "none", "other", "noassertion") else found


def licence_of(folder: Path) -> str:
    """The licence that a model's files name, in the card's front matter or by a known text; or nothing."""
    card = _text(folder / "README.md")
    front = re.match(r"---\n(.*?)\n---", card, re.DOTALL)
    if front and (named := re.search(r"^license:[ \t]*([^\s#]+)", front[1], re.MULTILINE)):
        return spdx(named[1].strip("\"'"))
    for path in sorted([*folder.glob("LICENSE*"), *folder.glob("LICENCE*")]):
        text = _text(path)
        for name, pattern in _TEXTS:
            if pattern.search(text):
                return name
    return ""


def combined(base: str, data: Iterable[tuple[str, str]]) -> LicenceRecord:
    """The licence of what is made of a base model and sources of data, with what has to be looked at.

    Args:
        base: the base model's.
        data: name and licence of each source.
    """
    parts = [("the base model", spdx(base)), *((f"the data `{name}`", spdx(each)) for name, each in data)]
    warnings = [f"The licence of {what} is not known." for what, licence in parts if not licence]
    known = [(what, licence) for what, licence in parts if licence]
    for what, licence in known:
        if _NO_DERIVATIVES.search(licence):
            warnings.append(f"{_begun(what)} is under {licence}, which lets nothing be made of it.")
        if _NOT_COMMERCIAL.search(licence):
            warnings.append(f"{_begun(what)} is under {licence}: no commercial use.")
        if _OWN_TERMS.search(licence):
            warnings.append(f"{_begun(what)} is under {licence}, which has terms of use to be passed on.")
    alike = {licence for _, licence in known if _ALIKE.match(licence)}
    for what, licence in known:
        others = {each for _, each in known} - {licence} - _PERMISSIVE
        if licence in alike and others:
            warnings.append(
                f"{_begun(what)} is under {licence}, which asks for the same terms for what is made of it;"
                f" {', '.join(sorted(others))} does not give them."
            )
    return LicenceRecord(
        id=_strictest([licence for _, licence in parts]), warnings=tuple(dict.fromkeys(warnings))
    )


def _strictest(licences: list[str]) -> str:
    """The one that the others allow; `unknown` if the base's is not known, `other` where none can be it."""
    if not licences[0]:
        return "unknown"
    binding = {licence for licence in licences if licence and licence not in _PERMISSIVE}
    if len(binding) > 1:
        return "other"
    return binding.pop() if binding else licences[0]


def _begun(what: str) -> str:
    return what[0].upper() + what[1:]


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST).decode(errors="replace")
    except OSError:
        return ""
