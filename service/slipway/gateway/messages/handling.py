"""Serves `/v1/messages` and the counting of its tokens: a chat completion in other words, without state."""

from dataclasses import dataclass

from slipway.gateway.chat.checking import checked
from slipway.gateway.chat.counting import TokenCount
from slipway.gateway.chat.translating import TranslatingSink, Translation
from slipway.gateway.exchanges import Exchange
from slipway.gateway.messages import asking
from slipway.gateway.messages.answers import MessageTranslation
from slipway.gateway.serving import Body, Serving


@dataclass(frozen=True, slots=True)
class Messages:
    """Answers Messages."""

    serving: Serving

    async def create(self, exchange: Exchange, body: Body) -> None:
        """The handler of POST /v1/messages."""
        asked = checked(exchange.route, body)
        chat = asking.chat(asked, self.serving.most_tokens(asked["model"]))
        await self._answer(exchange, chat, MessageTranslation(asked["model"]))

    async def count(self, exchange: Exchange, body: Body) -> None:
        """The handler of POST /v1/messages/count_tokens."""
        asked = checked(exchange.route, body)
        await self._answer(exchange, asking.counting(asked), TokenCount())

    async def _answer(self, exchange: Exchange, body: Body, translation: Translation) -> None:
        exchange.sink = TranslatingSink(exchange.sink, translation, exchange.route.dialect.error)
        await self.serving.answer(exchange, body)
