"""The stage `prepare` of a FineTune."""

from slipway.training.data.pipeline import prepare
from slipway.training.data.versions import PARTS
from slipway.training.exploration.report import ensure
from slipway.training.stages import Context, Done


def work(context: Context) -> Done:
    """Prepare the data, or find the version that is there."""
    version = prepare(context.run.name, context.fine_tune.spec.dataset, context)
    for source in version.manifest.sources:
        for name in source.empty_files:
            context.run.say(f"Source {source.name}: {name} is empty.", "warning")
    for warning in ensure(version, context):
        context.run.say(warning, "warning")
    counts = {part: version.count(part) for part in PARTS}
    dropped = sum(each.count for each in version.manifest.dropped)
    told = ", ".join(f"{count} {part}" for part, count in counts.items())
    return Done(
        f"{version.reference}: {told}; {dropped} records dropped.",
        {"dataset": version.reference, "records": counts},
    )
