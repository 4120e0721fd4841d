"""Questions about what is recorded, each asked once however many requests wait for its answer."""

import asyncio
from dataclasses import dataclass, field

from slipway.gateway.limits.contract import Period, Seed, Subject
from slipway.gateway.limits.periods import begins

Question = tuple[str, Period, int]


@dataclass(slots=True)
class SharedSeed:
    """A seed that is asked once at a time for a subject's period."""

    seed: Seed
    _asked: dict[Question, "asyncio.Task[tuple[int, int]]"] = field(default_factory=dict)

    async def __call__(self, subject: Subject, period: Period, seconds: float) -> tuple[int, int]:
        """See Seed. Raises what the seed raises."""
        question = (subject.id, period, begins(period, seconds))
        task = self._asked.get(question)
        if task is None:
            task = self._asked[question] = asyncio.create_task(self._ask(question, subject, seconds))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        # A client that leaves ends its own waiting, not that of the others.
        return await asyncio.shield(task)

    async def _ask(self, question: Question, subject: Subject, seconds: float) -> tuple[int, int]:
        try:
            return await self.seed(subject, question[1], seconds)
        finally:
            del self._asked[question]
