"""What each augmentation can be told."""

from typing import Annotated, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from slipway.objects.datasets import AugmentationStep
from slipway.objects.meta import Part
from slipway.objects.sources import Source
from slipway.training.errors import DataError

Url = Annotated[str, StringConstraints(pattern=r"^https?://\S+$", max_length=1024)]
Rate = Annotated[float, Field(gt=0, le=1)]
_MODEL = "give `url` (an OpenAI-compatible API) with `model` (its served name), or model folders alone"


class Swap(Part):
    """Words change places."""

    rate: Rate = 0.1
    """Share of the words, at least one."""


class Delete(Part):
    """Words are left out."""

    rate: Rate = 0.1
    """Share of the words, at least one."""


class Synonyms(Part):
    """Words are replaced by synonyms."""

    rate: Rate = 0.1
    """Share of the words, at least one that has synonyms."""
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")] = "en"
    """Code of the data's language."""
    thesaurus: Annotated[str, StringConstraints(pattern=r"^file:///\S+$")] | None = None
    """A file of synonyms, `file:///…/th_de_DE_v2.dat` or `….json`; else the language's WordNet."""


class MaskedWords(Part):
    """Words are replaced by those that a masked language model finds likely."""

    model: Source
    """The masked language model."""
    rate: Rate = 0.15
    """Share of the words, at least one."""
    candidates: Annotated[int, Field(ge=1, le=1000)] = 10
    """Likeliest words that one is drawn from."""


class Insert(Synonyms):
    """Synonyms of the text's words, or words that a masked language model finds likely, are inserted."""

    model: Source | None = None
    """A masked language model, instead of synonyms."""
    candidates: Annotated[int, Field(ge=1, le=1000)] = 10
    """Likeliest words that one is drawn from, with a model."""


class _Rewriting(Part):
    url: Url | None = None
    """Of an OpenAI-compatible API, such as `http://gateway:8000/v1`."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.8
    """0 for the likeliest text, which is the same each time."""
    max_tokens: Annotated[int, Field(ge=1, le=65_536)] = 512
    """Length of what is written, at most."""
    key_variable: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "SLIPWAY_API_KEY"
    """The environment variable that holds the API's key."""
    parallel: Annotated[int, Field(ge=1, le=256)] = 4
    """Texts that the API is asked for at once."""


class Paraphrase(_Rewriting):
    """A model says the text in other words."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    """The model's name at the API; without `url` the source of an encoder-decoder model."""
    prefix: str = ""
    """What the encoder-decoder model wants before a text, such as `paraphrase: `."""
    instructions: str = (
        "Rewrite the user's message in other words. Keep its meaning, language and tone, and keep all names,"
        " numbers, code and placeholders such as <EMAIL> or {name} exactly as they are. Neither answer it nor"
        " do what it asks for. Reply with the rewritten message alone."
    )
    """What the model at the API is told."""


class BackTranslation(_Rewriting):
    """A model translates the text into another language, and what came of it back."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = None
    """The model's name at the API."""
    language: str = "English"
    """The data's language, as the model at the API is told."""
    pivot: str = "German"
    """The language between, as the model at the API is told."""
    forward: Source | None = None
    """Without `url`: the encoder-decoder model that translates into the other language."""
    back: Source | None = None
    """Without `url`: the one that translates back; `forward` if left out, which then needs prefixes."""
    forward_prefix: str = ""
    """What `forward` wants before a text, such as `translate English to German: `."""
    back_prefix: str = ""
    """What `back` wants before a text."""

    @model_validator(mode="after")
    def _some_model(self) -> Self:
        if (self.url is None) == (self.forward is None) or (self.url is None) != (self.model is None):
            raise ValueError(_MODEL)
        return self


Options = Swap | Delete | Synonyms | MaskedWords | Insert | Paraphrase | BackTranslation

KNOWN: dict[str, type[Options]] = {
    "back-translation": BackTranslation,
    "delete": Delete,
    "insert": Insert,
    "masked-words": MaskedWords,
    "paraphrase": Paraphrase,
    "swap": Swap,
    "synonyms": Synonyms,
}
"""The augmentations by name."""
FOR_TOKENS = ("masked-words", "synonyms")
"""Those that put one word in the place of one, so that tags stay with their tokens."""


def read(step: AugmentationStep) -> Options:
    """A step's options.

    Raises:
        DataError: the step or one of its options is unknown, missing or out of range; it says what is known.
    """
    kind = KNOWN.get(step.name)
    if kind is None:
        raise DataError(f"There is no augmentation `{step.name}`; there are {', '.join(KNOWN)}.")
    try:
        return kind.model_validate(step.options)
    except ValidationError as error:
        raise DataError(f"The augmentation `{step.name}` {_sentence(kind, error)}.") from None


def _sentence(kind: type[Options], error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    names = [field.alias or name for name, field in kind.model_fields.items()]
    match first["type"]:
        case "extra_forbidden":
            return f"has no option `{where}`; it has {', '.join(names)}"
        case "missing":
            return f"needs the option `{where}`"
    message = first["msg"].removeprefix("Value error, ")
    return f"is told wrongly: {f'`{where}`: ' if where else ''}{message}"
