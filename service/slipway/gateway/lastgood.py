"""Objects as they were last read without a fault."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from slipway.objects.loading import Object

Key = TypeVar("Key", bound=Hashable)

STAYS = "its last good content stays in force"


@dataclass(slots=True)
class LastGood(Generic[Key]):
    """What cannot be read keeps its last good content, and says so once through `report(where, problem)`."""

    report: Callable[[str, str], None]
    objects: dict[Key, Object] = field(default_factory=dict)
    _said: dict[Key, str] = field(default_factory=dict)

    def take(self, key: Key, where: str, kind: type[Object], document: Any) -> bool:
        """Read `document` as an object of `kind`; False if it is none."""
        try:
            self.objects[key] = kind.model_validate(document)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            self.say(key, where, f"{field}: {first['msg']}; {STAYS}")
            return False
        self.mended(key)
        return True

    def drop(self, key: Key) -> None:
        """It is there no more."""
        self.objects.pop(key, None)
        self.mended(key)

    def say(self, key: Key, where: str, problem: str) -> None:
        """Report a problem, unless it was the last that was said of `key`."""
        if self._said.get(key) != problem:
            self._said[key] = problem
            self.report(where, problem)

    def mended(self, key: Key) -> None:
        """It has no problem any more."""
        self._said.pop(key, None)
