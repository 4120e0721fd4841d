"""The command `slipway`. Each command's module is loaded when it is called, so `--help` answers at once."""

from importlib import import_module

import click

from slipway import __version__

# Name of the command: (module that holds it as `command`, what `slipway --help` says of it).
COMMANDS = {
    "up": ("slipway.cli.up", "Serve what a file of objects asks for, as processes of this machine."),
    "down": ("slipway.cli.down", "Stop what `slipway up` started."),
    "status": ("slipway.cli.status", "Show what runs: services, replicas, addresses."),
    "chat": ("slipway.cli.chat", "Talk to a served model; the answer streams."),
    "models": ("slipway.cli.models", "List the models a key may call."),
    "key": ("slipway.cli.key", "Create, list and revoke API keys."),
    "usage": ("slipway.cli.usage", "Show what was used and what it cost; prove that the sums agree."),
    "explain": ("slipway.cli.explain", "Tell where a request's time went, and why it failed."),
    "engine": ("slipway.cli.engine", "Run one engine: fetch a model and serve it with vLLM."),
    "gateway": ("slipway.cli.gateway", "Run the gateway: OpenAI-compatible API, auth, limits, console."),
    "completion": ("slipway.cli.completion", "Print the completion script of a shell."),
    "version": ("slipway.cli.version", "Print the version."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run; listing them imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, message="%(version)s")
def main() -> None:
    """Slipway takes a language model from data to production, on this machine or on Kubernetes."""
