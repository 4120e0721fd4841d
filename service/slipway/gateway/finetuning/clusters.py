"""FineTunes in a namespace of a cluster, for which the operator makes Jobs."""

from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from slipway.gateway.finetuning.places import AwayError, Content, Record
from slipway.gateway.finetuning.reports import StageReport
from slipway.gateway.finetuning.signing import HOLDS, Signing
from slipway.gateway.finetuning.specs import fine_tune
from slipway.gateway.finetuning.store import Job
from slipway.kube import Client
from slipway.kube.config import Connection
from slipway.kube.errors import AlreadyExistsError, KubeError, NotFoundError
from slipway.kube.kinds import FINE_TUNE
from slipway.objects import FineTuneStatus

T = TypeVar("T")


@dataclass(slots=True)
class ClusterFineTunes:
    """FineTunes in one namespace."""

    connection: Connection
    namespace: str
    address: str
    """Of the gateways, as Jobs reach them: `http://slipway-gateway.slipway:8000`."""
    signing: Signing
    _client: Client | None = field(default=None)

    async def make(self, row: Job, parts: Mapping[str, Content]) -> None:
        """See FineTunes.make. Raises AwayError."""
        if not self.signing.secret():
            raise AwayError("there is no engines' key to sign addresses of examples with")
        expires = row.created_us // 1_000_000 + HOLDS
        sources = {part: self._address_of(row, part, expires) for part in parts}
        made = fine_tune(row, sources).model_dump(mode="json", by_alias=True, exclude_unset=True)
        try:
            await _asked(self._api().create(FINE_TUNE, made))
        except AlreadyExistsError:
            await self.steer(row)

    async def steer(self, row: Job) -> None:
        """See FineTunes.steer. Raises AwayError."""
        wanted = {"suspend": row.wanted == "pause", "cancel": row.wanted == "cancel"}
        try:
            there = await _asked(self._api().get(FINE_TUNE, self.namespace, row.id))
            spec = there.get("spec") or {}
            if any(bool(spec.get(name)) != value for name, value in wanted.items()):
                await _asked(self._api().merge(FINE_TUNE, self.namespace, row.id, {"spec": wanted}))
        except NotFoundError:
            return  # `observe` says so.

    async def observe(self, row: Job) -> FineTuneStatus | None:
        """See FineTunes.observe. Raises AwayError."""
        try:
            there = await _asked(self._api().get(FINE_TUNE, self.namespace, row.id))
        except NotFoundError:
            return None
        try:
            return FineTuneStatus.model_validate(there.get("status") or {})
        except ValidationError:
            return FineTuneStatus()

    async def record(self, row: Job) -> Record:
        """See FineTunes.record: what Jobs write lies on their volume."""
        return Record()

    async def reports(self, row: Job) -> list[StageReport]:
        """See FineTunes.reports: they lie on the Jobs' volume."""
        return []

    async def tidy(self, row: Job) -> None:
        """See FineTunes.tidy: there is no copy."""

    async def close(self) -> None:
        """See FineTunes.close."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _api(self) -> Client:
        if self._client is None:
            self._client = Client(self.connection, manager="slipway-gateway")
        return self._client

    def _address_of(self, row: Job, part: str, expires: int) -> str:
        signature = self.signing.sign(row.id, part, expires)
        return (
            f"{self.address.rstrip('/')}/v1/fine_tuning/jobs/{row.id}/examples/{part}.jsonl"
            f"?expires={expires}&signature={signature}"
        )


async def _asked(call: Coroutine[Any, Any, T]) -> T:
    """The API server's answer. Raises NotFoundError, AlreadyExistsError, AwayError for every other fault."""
    try:
        return await call
    except (NotFoundError, AlreadyExistsError):
        raise
    except KubeError as error:
        raise AwayError(f"FineTunes: {error}") from error
