"""Whom a preparation tells how far it is, and who may stop it."""

from typing import Protocol

from slipway.training.workspaces import Workspace


class Watch(Protocol):
    """A stage's context is one."""

    @property
    def workspace(self) -> Workspace:
        """Where versions lie, and what is not finished."""

    def check(self) -> None:
        """Raises Stopped if the work is to stop."""

    def tell(self, message: str, step: int = 0, total: int | None = None) -> None:
        """Say how far it is."""
