"""The stage `register`: the evaluated artifact becomes a version, with its record and its model card."""

from slipway.training.registry.cards import card
from slipway.training.registry.drafting import artifact_of, draft_of
from slipway.training.registry.remotes import push
from slipway.training.registry.store import Registry
from slipway.training.stages import Context, Done


def work(context: Context) -> Done:
    """Register what training left. An artifact that was registered by an attempt before is not so again.

    Raises:
        RegistryError: it holds what no artifact may, or the place where copies are kept cannot be written.
    """
    context.tell("checking the artifact")
    artifact = artifact_of(context)
    draft = draft_of(context, artifact)
    registry = Registry.of(context.workspace)
    context.check()
    context.tell("copying it into the registry")
    record = registry.register(draft, artifact, card)
    for warning in record.licence.warnings:
        context.run.say(warning, "warning")
    folder = registry.folder(record.name, record.version)
    uri = folder.as_uri()
    place = context.fine_tune.spec.storage.artifacts
    if place is not None:
        context.tell(f"copying it to {place}")
        uri = push(registry, record, place)
    return Done(
        f"{record.reference} is registered ({record.digest[:19]}…).",
        {
            "name": record.name,
            "version": record.version,
            "kind": record.kind,
            "digest": record.digest,
            "folder": str(folder.relative_to(context.workspace.root)),
            "uri": uri,
            "modelCard": str((folder / "README.md").relative_to(context.workspace.root)),
        },
    )
