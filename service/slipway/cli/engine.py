"""`slipway engine`."""

import json
import sys
from pathlib import Path
from typing import Any

import click


@click.command(context_settings={"show_default": True})
@click.option(
    "--source",
    required=True,
    help="Where the model comes from: file://, hf://, s3://, pypi:// or registry+http(s)://.",
)
@click.option("--name", required=True, help="The served name, what clients put into `model`.")
@click.option(
    "--task",
    type=click.Choice(["generate", "embed", "classify", "score"]),
    default="generate",
    help="What the model does.",
)
@click.option(
    "--runtime",
    type=click.Choice(["vllm", "transformers"]),
    default="vllm",
    help="transformers serves T5-style models and the classifiers that vLLM does not.",
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "gpu"]), default="auto", help="auto: a GPU if any."
)
@click.option("--dtype", default="auto", help="Number format of the weights.")
@click.option(
    "--max-model-len", type=click.IntRange(min=16), help="Longest prompt and answer together, in tokens."
)
@click.option("--tensor-parallel", type=click.IntRange(min=1), default=1, help="GPUs that share each layer.")
@click.option("--pipeline-parallel", type=click.IntRange(min=1), default=1, help="Devices in a row.")
@click.option(
    "--adapter", "adapters", multiple=True, metavar="NAME=SOURCE", help="A LoRA adapter to serve too."
)
@click.option(
    "--adapters-file",
    type=click.Path(path_type=Path),
    envvar="SLIPWAY_ADAPTERS_FILE",
    show_envvar=True,
    help="JSON file with more of them, {NAME: SOURCE}; what is missing, or cannot be fetched, is left out.",
)
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8001, help="Port to listen on.")
@click.option(
    "--drain-timeout", type=click.IntRange(min=0), default=30, help="Seconds to finish after SIGTERM."
)
@click.option(
    "--fetch-only", is_flag=True, help="Bring the model into the cache and end, without serving it."
)
@click.argument("args", nargs=-1, metavar="[-- FLAGS...]")
def command(adapters: tuple[str, ...], adapters_file: Path | None, fetch_only: bool, **options: Any) -> None:
    """Run one engine: fetch a model and serve it with vLLM or with Transformers.

    Flags after `--` go to the runtime: to vLLM's server as they are, to Transformers those of docs/engine.md.
    Requests must carry the key in $SLIPWAY_ENGINE_KEY; what happens is told as one JSON object a line on
    standard error.
    """
    named: dict[str, str] = {}
    for adapter in adapters:
        name, found, source = adapter.partition("=")
        if not (name and found and source):
            raise click.BadParameter(
                f"{adapter!r} is not NAME=SOURCE, such as formal=s3://bucket/formal", param_hint="--adapter"
            )
        named[name] = source

    from slipway.engine.options import EngineOptions

    asked = EngineOptions(adapters=named, brought=_brought(adapters_file), **options)
    if fetch_only:
        from slipway.engine.starting import fetch_model as run
    elif asked.runtime == "transformers":
        from slipway.engine.transformers_runtime.server import run
    else:
        from slipway.engine.server import run

    sys.exit(run(asked))


def _brought(file: Path | None) -> dict[str, str]:
    """What the file lists; nothing where there is none, or only half of one."""
    try:
        return (
            {str(name): str(source) for name, source in json.loads(file.read_text()).items()} if file else {}
        )
    except (OSError, ValueError, AttributeError):
        return {}
