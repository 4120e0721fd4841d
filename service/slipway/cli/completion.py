"""`slipway completion`."""

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Put one of these into the shell's start-up file:
      bash:  eval "$(slipway completion bash)"
      zsh:   eval "$(slipway completion zsh)"
      fish:  slipway completion fish | source
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    root = ctx.find_root()
    if kind is None:  # the choices above are those that click has
        raise click.ClickException(f"There is no completion for {shell}.")
    script = kind(root.command, {}, "slipway", "_SLIPWAY_COMPLETE")
    click.echo(script.source())
