"""The step `language`: names each record's language, and keeps those that are wanted."""

from collections.abc import Sequence

from pydantic import Field

from slipway.training.data.identities import text_of
from slipway.training.data.steps import options
from slipway.training.data.steps.dropping import DropError
from slipway.training.records import Record

PREFIX = "language:"
"""Of the names that say which language was found."""
UNKNOWN = "unknown"


class Language:
    """Identifies the language (py3langid, 97 languages, after Lui and Baldwin's langid.py)."""

    class Options(options.Options):
        """Options of `language`."""

        keep: tuple[str, ...] = ()
        """Codes of ISO 639-1 that are kept, such as `en`; all if left out."""
        min_probability: float = Field(default=0.5, ge=0, le=1)
        """A guess that is less sure counts as unknown, which is kept."""
        sample: int = Field(default=256, ge=64)
        """Characters from the beginning of a record that are looked at."""

    def __init__(self, options: Options) -> None:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        unknown = sorted(set(options.keep) - set(identifier.labels))
        if unknown:
            from slipway.training.errors import DataError

            raise DataError(
                f"Step `language` knows no {', '.join(unknown)}; it knows"
                f" {', '.join(sorted(identifier.labels))}.",
                "BadPreparation",
            )
        self._classify = identifier.classify
        self._options = options

    def __call__(self, record: Record) -> Sequence[str]:
        text = text_of(record)[: self._options.sample]
        found, probability = self._classify(text)
        if probability < self._options.min_probability or sum(map(str.isalpha, text)) < 12:
            found = UNKNOWN
        if self._options.keep and found != UNKNOWN and found not in self._options.keep:
            wanted = ", ".join(self._options.keep)
            raise DropError("language", f"It is in `{found}` ({probability:.0%} sure), not in {wanted}.")
        return (PREFIX + found,)
