"""Which FineTunes and LLMServices depend on each other: one brings adapters, the other says how they fare."""

from collections.abc import Iterator

from slipway.kube.kinds import FINE_TUNE, LLM_SERVICE, Kind
from slipway.objects import FineTune, LLMService
from slipway_operator.adapters import newest, offers
from slipway_operator.worlds import Key, Object, World, key_of


def fine_tunes(world: World, namespace: str) -> list[Object]:
    """The FineTunes of a namespace."""
    return [each for each in world.all(FINE_TUNE) if key_of(each)[0] == namespace]


def concerned(world: World, kind: Kind, item: Object) -> Iterator[tuple[Kind, Key]]:
    """The services that a FineTune may have an adapter for, and the FineTunes that are for a service."""
    namespace, name = key_of(item)
    if kind is FINE_TUNE and (item.get("status") or {}).get("artifact"):
        # Also one that it is not for any more, and the other FineTunes for the same one.
        for service in world.all(LLM_SERVICE):
            if key_of(service)[0] == namespace:
                yield LLM_SERVICE, key_of(service)
    elif kind is LLM_SERVICE:
        for each in fine_tunes(world, namespace):
            if (each["spec"].get("deploy") or {}).get("service") == name:
                yield FINE_TUNE, key_of(each)


def newer(world: World, fine_tune: FineTune, service: Object | None) -> str | None:
    """The FineTune that has brought a newer version of the same adapter to the same service."""
    if service is None:
        return None
    parsed = LLMService.model_validate({name: each for name, each in service.items() if name != "status"})
    found = newest(offers(parsed, fine_tunes(world, key_of(service)[0])))
    offer = found.get(fine_tune.adapter_name)
    own = any(each.fine_tune == fine_tune.metadata.name for each in found.values())
    return offer.fine_tune if offer is not None and not own else None
