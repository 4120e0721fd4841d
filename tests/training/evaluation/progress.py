"""Whom tests let the work tell."""

from dataclasses import dataclass, field

from slipway.training.errors import Stopped


@dataclass
class Steps:
    """Keeps what it is told; asks to stop after some replies."""

    stop_after: int | None = None
    told: list[tuple[str, int, int | None]] = field(default_factory=list)

    def check(self) -> None:
        if self.stop_after is not None and self.told and self.told[-1][1] >= self.stop_after:
            raise Stopped

    def tell(self, message: str, step: int = 0, total: int | None = None) -> None:
        self.told.append((message, step, total))
