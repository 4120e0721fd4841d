"""`slipway finetune watch`."""

import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from slipway.cli.options import sentences, state_folder, state_option
from slipway.cli.workspaces import workspace_of, workspace_option


@click.command()
@state_option
@workspace_option
@sentences
def command(state: Path | None, workspace: str | None) -> None:
    """Carry out the FineTunes of a state folder, one at a time, until Ctrl-C.

    The gateway puts one there for each fine-tuning job of the API. `slipway up` does the same beside its
    engines; this is for a gateway that runs without it. Of two over one folder the second waits.
    """
    import asyncio

    from slipway.local.fine_tune_queue import FineTuneQueue

    folder = state_folder(state)
    folder.create()
    queue = FineTuneQueue(folder, workspace_of(workspace), lambda sentence: click.echo(sentence, err=True))
    click.echo(f"Waiting for FineTunes in {folder.root}. Press Ctrl-C to stop.", err=True)
    asyncio.run(_until_asked(queue.run))


async def _until_asked(run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    import asyncio

    task = asyncio.create_task(run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
