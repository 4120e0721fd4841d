"""`slipway chat`."""

import difflib
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from slipway.cli.client import Gateway, gateway, url_options
from slipway.cli.options import sentences, state_option


@click.command()
@click.argument("model", required=False)
@click.option("-m", "--message", metavar="TEXT", help="Ask this, print the answer, end.")
@click.option("--system", metavar="TEXT", help="What the model is told about how to answer.")
@click.option(
    "--temperature",
    type=click.FloatRange(0, 2),
    metavar="0..2",
    help="0: the likeliest words, more: more varied.",
)
@click.option("--max-tokens", type=click.IntRange(min=1), metavar="N", help="Longest answer, in tokens.")
@state_option
@url_options
@sentences
def command(
    model: str | None,
    message: str | None,
    system: str | None,
    temperature: float | None,
    max_tokens: int | None,
    state: Path | None,
    url: str | None,
    api_key: str | None,
) -> None:
    """Talk to a served model; the answer streams.

    MODEL is the first that the key may call if left out. Without --message a conversation begins, which
    ends with Ctrl-D; Ctrl-C stops an answer. Text piped in is asked as one message; --system says what to
    do with it.

    \b
    Examples:
      slipway chat
      slipway chat smollm2-135m -m 'What is gravity?'
      git diff | slipway chat --system 'Write a commit message for this diff.'
    """
    door = gateway(state, url, api_key)
    typed = sys.stdin.isatty()
    # With --message the input is left alone: it may be a pipe that nobody closes.
    asked = message or ("" if typed else sys.stdin.read().strip())
    if not asked and not typed:
        raise click.ClickException("Nothing was asked: standard input is empty, and there is no --message.")
    if not model:
        model = _first(door)
    elif not asked:
        _expect(model, door)
    chat = Chat(door, model, system, temperature, max_tokens)
    if asked:
        sys.exit(0 if chat.ask(asked) else 130)
    click.echo(f"{chat.model}. Ctrl-C stops an answer, Ctrl-D ends.", err=True)
    converse(chat, lambda: input("> "))


def _expect(name: str, door: Gateway) -> None:
    """No conversation begins with a model that cannot answer. A single question is left to the gateway."""
    chats, others = _by_task(door)
    if name in others:
        raise click.ClickException(f"The model {name} cannot chat.")
    if name not in chats:
        close = difflib.get_close_matches(name, chats, n=1)
        mend = f"did you mean {close[0]}?" if close else "`slipway models` lists those that there are."
        raise click.ClickException(f"There is no model {name} that this key may call; {mend}")


def _by_task(door: Gateway) -> tuple[list[str], list[str]]:
    """The models that chat, and the others."""
    chats: list[str] = []
    others: list[str] = []
    for model in door.models():
        (chats if model.get("task", "generate") == "generate" else others).append(str(model["id"]))
    return chats, others


def _first(door: Gateway) -> str:
    chats, others = _by_task(door)
    if not chats:
        why = f"Of the models that this key may call none can chat: {', '.join(others)}." if others else ""
        raise click.ClickException(why or "No models that this key may call.")
    return chats[0]


class Chat:
    """A conversation with one model."""

    def __init__(
        self,
        door: Gateway,
        model: str,
        system: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self.model = model
        self._door = door
        self._options = {
            name: value
            for name, value in (("temperature", temperature), ("max_completion_tokens", max_tokens))
            if value is not None
        }
        self._history: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []

    def ask(self, text: str) -> bool:
        """Print the answer as it comes; False if Ctrl-C stopped it. What was answered is remembered."""
        history = [*self._history, {"role": "user", "content": text}]
        said: list[str] = []
        finished = True
        try:
            pieces = self._door.chat({"model": self.model, "messages": history, **self._options})
            for piece in pieces:
                said.append(piece)
                click.echo(piece, nl=False)
        except KeyboardInterrupt:
            finished = False
        finally:
            if said:
                click.echo()
        if said:
            self._history = [*history, {"role": "assistant", "content": "".join(said)}]
        return finished


def converse(chat: Chat, read: Callable[[], str]) -> None:
    """Ask what is read until its end. Ctrl-C stops an answer or drops a line; mistakes end nothing."""
    with suppress(ImportError):
        import readline  # noqa: F401  (makes input() editable)
    while True:
        try:
            text = read().strip()
        except EOFError:
            click.echo()
            return
        except KeyboardInterrupt:
            click.echo()
            continue
        if not text:
            continue
        try:
            chat.ask(text)
        except click.ClickException as error:
            error.show()
