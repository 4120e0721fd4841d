"""`slipway models recommend`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from slipway.cli.options import output_option, print_json, print_table

if TYPE_CHECKING:
    from slipway.training.choosing.machines import Machine
    from slipway.training.choosing.recommending import Advice


@click.command()
@click.option(
    "--task", type=click.Choice(["generate", "classify", "tag"]), default="generate", show_default=True
)
@click.option("--language", "languages", multiple=True, help="ISO 639-1, such as de; several are possible.")
@click.option("--rows", type=click.IntRange(1), help="Rows of the data to learn from.")
@click.option(
    "--licence",
    "licences",
    multiple=True,
    default=["permissive"],
    show_default=True,
    help="permissive, any, or an identifier such as llama3.2; several are possible.",
)
@click.option("--gpu-memory", help="Of one GPU, such as 24Gi; that of this machine if left out. 0: none.")
@click.option("--gpus", type=click.IntRange(0), help="How many of them; those of this machine if left out.")
@click.option("--cpu-memory", help="Of the machine, such as 32Gi; that of this machine if left out.")
@click.option("--context", default=2048, show_default=True, help="Tokens of a conversation when serving.")
@click.option("--concurrency", default=8, show_default=True, help="Conversations at the same time.")
@click.option("--length", default=1024, show_default=True, help="Tokens of an example when training.")
@click.option(
    "--model", "models", multiple=True, help="A folder or an address of your own, beside the catalogue."
)
@click.option("--all", "every", is_flag=True, help="Show also what is not suitable, and why.")
@output_option
def command(
    task: str,
    languages: Sequence[str],
    rows: int | None,
    licences: Sequence[str],
    gpu_memory: str | None,
    gpus: int | None,
    cpu_memory: str | None,
    context: int,
    concurrency: int,
    length: int,
    models: Sequence[str],
    every: bool,
    output: str,
) -> None:
    """Say which model to begin with: what fits for serving and for each way of training, and why."""
    from slipway.training.choosing.candidates import catalogue, named
    from slipway.training.choosing.recommending import Wish, recommend
    from slipway.training.errors import TrainingError

    machine = _machine(gpu_memory, gpus, cpu_memory)
    known = catalogue()
    wish = Wish(
        task,  # type: ignore[arg-type] # click has looked.
        tuple(languages) or ("en",),
        rows,
        tuple(licences),
        context,
        concurrency,
        length,
    )
    try:
        own = [named(source) for source in models]
    except TrainingError as error:
        raise click.ClickException(str(error)) from None
    others = [each for each in known.candidates if each.source not in {mine.source for mine in own}]
    advice = recommend([*own, *others], wish, machine)
    if output == "json":
        print_json([each.document() for each in advice])
        return
    _print(advice, {each.name for each in own}, machine, every)
    click.echo(f"\nFigures of the catalogue as of {known.as_of}; licences are for you to read.")


def _machine(gpu_memory: str | None, gpus: int | None, cpu_memory: str | None) -> "Machine":
    from slipway.training.choosing.machines import Machine, found

    if gpu_memory is not None and cpu_memory is not None:
        memory = _bytes(gpu_memory)
        return Machine(memory, (gpus if gpus is not None else 1) if memory else 0, _bytes(cpu_memory))
    here = found()
    memory = here.gpu if gpu_memory is None else _bytes(gpu_memory)
    count = gpus if gpus is not None else here.gpus if gpu_memory is None else 1
    return Machine(memory, count if memory else 0, here.cpu if cpu_memory is None else _bytes(cpu_memory))


def _bytes(text: str) -> int:
    from slipway.objects.scalars import Quantity

    try:
        return int(Quantity.of(text).number)
    except ValueError:
        raise click.ClickException(f"`{text}` is no amount of memory; write it as 24Gi or 80G.") from None


def _print(advice: "Sequence[Advice]", own: set[str], machine: "Machine", every: bool) -> None:
    gpus = f"{machine.gpus} GPU of {_gib(machine.gpu)}" if machine.gpus else "no GPU"
    click.echo(f"For {gpus} and {_gib(machine.cpu)} of memory:\n")
    shown = [each for each in advice if each.suitable or every or each.candidate.name in own]
    if not any(each.suitable for each in advice):
        click.echo("No model of the catalogue is suitable; `--all` says why.\n")
    if not shown:
        return
    head = ["MODEL", "PARAMETERS", "LICENCE", "SERVED ON", "NEEDS", "BEGIN WITH", "LORA", "FULL"]
    print_table(head, [_row(each) for each in shown])
    best = next((each for each in shown if each.suitable), None)
    for each in shown:
        if each is best or each.against or each.candidate.name in own:
            click.echo(f"\n{each.candidate.name}")
            for sentence in each.against or each.why:
                click.echo(f"  {sentence}")


def _row(each: "Advice") -> list[object]:
    model = each.candidate.architecture
    fit = next((fit for fit in each.serving if fit.fits), None) or next(iter(each.serving), None)
    return [
        each.candidate.name,
        f"{model.parameters / 1e9:.2f}B",
        each.candidate.licence or "?",
        each.device or "-",
        _gib(fit.needs.total) if fit else "-",
        (each.method or "-") if each.suitable else "-",
        _training(each, "lora"),
        _training(each, "full"),
    ]


def _training(each: "Advice", method: str) -> str:
    """Memory of a method on the device where it fits."""
    fits = [fit for fit in each.training if fit.method == method]
    fit = next((fit for fit in fits if fit.fits), None) or next(iter(fits), None)
    if fit is None:
        return "-"
    return f"{_gib(fit.needs.total)} {fit.device if fit.fits else 'no'}"


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"
