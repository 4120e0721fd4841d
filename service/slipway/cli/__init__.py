"""The command `slipway`. Each command's module is loaded when it is called, so `--help` answers at once."""

from collections.abc import Sequence
from importlib import import_module

import click

from slipway import __version__

# Name of the command: (module that holds it as `command`, what `slipway --help` says of it).
COMMANDS = {
    "up": ("slipway.cli.up", "Serve what a file of objects asks for, as processes of this machine."),
    "down": ("slipway.cli.down", "Stop what `slipway up` started."),
    "status": ("slipway.cli.status", "Show what runs: services, replicas, addresses."),
    "get": ("slipway.cli.get", "List services, keys, routes or owners; follow the services live."),
    "describe": ("slipway.cli.describe", "Show all that is known of a service."),
    "logs": ("slipway.cli.logs", "Print the logs of a service's engines."),
    "rollout": ("slipway.cli.rollout", "Follow a rollout; pause, promote, abort or undo it."),
    "chat": ("slipway.cli.chat", "Talk to a served model; the answer streams."),
    "models": ("slipway.cli.models", "List the models a key may call; choose one to begin with."),
    "key": ("slipway.cli.key", "Create, list, rotate and delete API keys."),
    "usage": ("slipway.cli.usage", "Show what was used and what it cost; prove that the sums agree."),
    "explain": ("slipway.cli.explain", "Tell what is wrong with a service, or where a request's time went."),
    "data": ("slipway.cli.data", "Prepare datasets, look at their versions, compare and export them."),
    "finetune": ("slipway.cli.finetune", "Prepare, train, evaluate and deploy as a FineTune asks for."),
    "eval": ("slipway.cli.eval", "Evaluate a model in a folder or behind an address; gates decide."),
    "adapters": ("slipway.cli.adapters", "Merge LoRA adapters, or train a bag of them."),
    "registry": ("slipway.cli.registry", "List, compare, promote, retire, copy and collect versions."),
    "lineage": ("slipway.cli.lineage", "Show what an answer, an adapter or a dataset came from."),
    "engine": ("slipway.cli.engine", "Run one engine: fetch a model and serve it with vLLM."),
    "gateway": ("slipway.cli.gateway", "Run the gateway: OpenAI-compatible API, auth, limits, console."),
    "completion": ("slipway.cli.completion", "Print the completion script of a shell."),
    "version": ("slipway.cli.version", "Print the version."),
}


PLUGIN_COMMANDS = ("status", "get", "describe", "logs", "rollout", "explain", "key", "version")
"""Those that work on a cluster."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run; listing them imports none."""

    names: Sequence[str] = tuple(COMMANDS)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.names:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.names])


class PluginGroup(LazyGroup):
    """The commands as a plugin of kubectl."""

    names = PLUGIN_COMMANDS


_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=LazyGroup, context_settings=_SETTINGS)
@click.version_option(__version__, message="%(version)s")
def main() -> None:
    """Slipway takes a language model from data to production, on this machine or on Kubernetes."""


@click.group(cls=PluginGroup, context_settings=_SETTINGS)
@click.version_option(__version__, message="%(version)s")
def plugin() -> None:
    """Slipway's services on this cluster: what runs, what is wrong, and how a rollout goes on."""


def run_plugin() -> None:
    """Entry point of `kubectl slipway`."""
    plugin(prog_name="kubectl slipway")
