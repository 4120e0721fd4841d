"""Steps that mend texts: broken encodings, forms of Unicode, HTML, white space."""

import html
import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

from slipway.training.data.identities import rewrite
from slipway.training.data.steps import options
from slipway.training.records import Record

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\ufeff\ufff9-\ufffb\ud800-\udfff]")
_TAG = re.compile(
    r"""<!--|<!doctype|</?[a-z][a-z0-9]*(?:\s+[a-z_:][\w:.-]*(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'=<>`]+))?)*\s*/?>""",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:[a-zA-Z]{2,8}|#\d{1,7}|#x[0-9a-fA-F]{1,6});")
_BREAK = re.compile(
    r"<br\s*/?>|</(?:p|div|li|ul|ol|tr|table|h[1-6]|section|article|blockquote|pre)\s*>", re.IGNORECASE
)
_FENCE = re.compile(r"(```.*?(?:```|\Z))", re.DOTALL)
_LINE_END = re.compile(r"[^\S\n]+\n")
_BLANK_LINES = re.compile(r"\n{4,}")
_SPACES = re.compile(r"(?<=\S)[^\S\n]{2,}")
_ODD_SPACE = re.compile(r"[\r\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u2028\u2029\u200b\x0c]")


class FixEncoding:
    """Undoes text that was decoded by a wrong encoding (ftfy), and takes control characters away."""

    class Options(options.Options):
        """None."""

    def __init__(self, options: Options) -> None:
        import ftfy
        import ftfy.fixes

        self._fix = ftfy.fix_encoding
        self._surrogates = ftfy.fixes.fix_surrogates

    def __call__(self, record: Record) -> Sequence[str]:
        return ("encoding repaired",) if rewrite(record, self._change, tokens=True) else ()

    def _change(self, text: str) -> str:
        if not text.isascii():
            text = self._fix(self._surrogates(text))
        return _CONTROL.sub("", text) if _CONTROL.search(text) else text


class NormalizeUnicode:
    """Writes what looks the same with the same characters."""

    class Options(options.Options):
        """Options of `unicode`."""

        form: Literal["NFC", "NFKC"] = "NFC"
        """NFKC also replaces ligatures, full-width letters and the like."""

    def __init__(self, options: Options) -> None:
        self._form = options.form

    def __call__(self, record: Record) -> Sequence[str]:
        return ("unicode normalized",) if rewrite(record, self._change, tokens=True) else ()

    def _change(self, text: str) -> str:
        if text.isascii() or unicodedata.is_normalized(self._form, text):
            return text
        return unicodedata.normalize(self._form, text)


class StripHtml:
    """Leaves the text of HTML; what stands in a fence of code stays as it is."""

    class Options(options.Options):
        """None."""

    def __init__(self, options: Options) -> None:
        from selectolax.lexbor import LexborHTMLParser

        self._parse = LexborHTMLParser

    def __call__(self, record: Record) -> Sequence[str]:
        return ("html stripped",) if rewrite(record, self._change) else ()

    def _change(self, text: str) -> str:
        if "<" not in text and "&" not in text:
            return text
        if "```" not in text:
            return self._strip(text)
        return "".join(
            part if part.startswith("```") else self._strip(part) for part in _FENCE.split(text) if part
        )

    def _strip(self, text: str) -> str:
        if not _TAG.search(text):
            return html.unescape(text) if _ENTITY.search(text) else text
        tree = self._parse(_BREAK.sub(lambda tag: tag[0] + "\n", text))
        tree.strip_tags(["script", "style", "noscript", "template", "head"])
        body = tree.body
        return body.text() if body is not None else ""


class TrimWhitespace:
    """Makes line ends, odd spaces and blank lines the same everywhere."""

    class Options(options.Options):
        """Options of `whitespace`."""

        collapse: bool = False
        """Also leave one space of several inside of lines, which breaks tables and code."""

    def __init__(self, options: Options) -> None:
        self._collapse = options.collapse

    def __call__(self, record: Record) -> Sequence[str]:
        return ("white space trimmed",) if rewrite(record, self._change) else ()

    def _change(self, text: str) -> str:
        if _ODD_SPACE.search(text):
            text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u200b", "")
            text = text.replace("\u2028", "\n").replace("\u2029", "\n\n")
            text = _ODD_SPACE.sub(" ", text)
        if "\n" in text:
            text = _BLANK_LINES.sub("\n\n\n", _LINE_END.sub("\n", text))
        if self._collapse:
            text = _SPACES.sub(" ", text)
        # The first line's indentation is part of code.
        return text.rstrip().lstrip("\n") if text[:1] == "\n" or text[-1:].isspace() else text
