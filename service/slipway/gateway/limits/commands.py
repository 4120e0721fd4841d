"""The commands that the shared store sends, written in Redis's protocol; parts that repeat are kept so."""

from dataclasses import dataclass, field
from hashlib import sha1

from slipway.gateway.limits import scripts
from slipway.gateway.limits.contract import Subject

Parts = bytes | str | int
_EMPTY = b"$0\r\n\r\n"
_MOST_KEPT = 16_384
"""Subjects whose parts are kept; then all are made anew."""


def part(value: Parts) -> bytes:
    """One argument."""
    if isinstance(value, int):
        value = b"%d" % value
    elif isinstance(value, str):
        value = value.encode()
    return b"$%d\r\n%b\r\n" % (len(value), value)


def command(*parts: Parts) -> bytes:
    """Any command."""
    return b"*%d\r\n" % len(parts) + b"".join(map(part, parts))


@dataclass(slots=True)
class _Written:
    """The parts of a subject."""

    subject: Subject
    keys: bytes
    limits: bytes
    flags: bytes
    calendar_flags: bytes


@dataclass(slots=True)
class Script:
    """A script, and how it is called: by its digest, or whole where Redis has forgotten it."""

    text: str
    by_digest: bytes = field(init=False)
    whole: bytes = field(init=False)

    def __post_init__(self) -> None:
        digest = sha1(self.text.encode()).hexdigest()  # noqa: S324 - Redis names scripts so
        self.by_digest = part("EVALSHA") + part(digest)
        self.whole = part("EVAL") + part(self.text)

    def again(self, packed: bytes) -> bytes:
        """The same call, with the script in it."""
        return packed.replace(self.by_digest, self.whole, 1)


@dataclass(slots=True)
class Commands:
    """Writes what one gateway sends. Keys are `{prefix}:…`: one slot of a cluster."""

    gateway: str
    """Names the gateway's process; another one has another name."""
    prefix: str = "slipway"
    lease: float = 30.0
    """Seconds for which places in flight are taken."""
    seeded: bool = False
    """Counters of calendar periods begin with what is recorded, so Redis says where they are missing."""
    reserve_script: Script = field(default_factory=lambda: Script(scripts.RESERVE))
    settle_script: Script = field(default_factory=lambda: Script(scripts.SETTLE))
    _written: dict[str, _Written] = field(default_factory=dict)

    @property
    def open(self) -> str:
        """The key of this gateway's open reservations."""
        return f"{{{self.prefix}}}:open:{self.gateway}"

    def in_flight(self, subject: Subject) -> str:
        """The key of a subject's places in flight."""
        return f"{{{self.prefix}}}:{subject.id}:in-flight"

    def reserve(
        self,
        name: str,
        subjects: tuple[Subject, ...],
        tokens: int,
        cost: int,
        *,
        take: bool = True,
        seeds: list[tuple[int | str, ...]] | None = None,
    ) -> bytes:
        """Take, or look. `seeds`, by subject: what missing counters begin with (see the script)."""
        count = len(subjects)
        written = [self._of(subject) for subject in subjects]
        unseeded = _EMPTY * 4 if self.seeded else part(0) * 4
        call = [
            b"*%d\r\n%b" % (9 + 13 * count, self.reserve_script.by_digest),
            part(1 + 2 * count),
            part(self.open),
            *(each.keys for each in written),
            part(name),
            part(int(self.lease * 1000)),
            part(tokens),
            part(cost),
            b"$1\r\n1\r\n" if take else b"$1\r\n0\r\n",
        ]
        for at, each in enumerate(written):
            call.append(each.limits)
            call.append(unseeded if seeds is None else b"".join(map(part, seeds[at])))
        return b"".join(call)

    def settle(
        self,
        name: str,
        mode: str,
        subjects: tuple[Subject, ...],
        second: int,
        *,
        more: tuple[int, int, int],
        memory: int = 0,
        whole: tuple[int, int] = (0, 0),
    ) -> bytes:
        """Settle, undo or pay (see the script). `more`: requests, tokens, cost to add; `whole`: in full."""
        count = len(subjects)
        written = [self._of(subject) for subject in subjects]
        return b"".join(
            (
                b"*%d\r\n%b" % (14 + 3 * count, self.settle_script.by_digest),
                part(1 + 2 * count),
                part(self.open),
                *(each.keys for each in written),
                part(name),
                part(mode),
                *map(part, more),
                part(second),
                part(memory),
                *map(part, whole),
                part(int(not self.seeded)),
                *(each.calendar_flags if mode == "pay" else each.flags for each in written),
            )
        )

    def renew(self, held: list[tuple[Subject, str]]) -> bytes:
        """Keep places in flight for another lease."""
        keys = [self.in_flight(subject) for subject, _ in held]
        return command(
            "EVAL", scripts.RENEW, len(held), *keys, int(self.lease * 1000), *(name for _, name in held)
        )

    def _of(self, subject: Subject) -> _Written:
        written = self._written.get(subject.id)
        if written is None or written.subject is not subject:
            if len(self._written) >= _MOST_KEPT:
                self._written.clear()
            values = subject.rates.values
            flags = ["0" if most is None else "1" for most in values]
            written = self._written[subject.id] = _Written(
                subject,
                part(f"{{{self.prefix}}}:{subject.id}") + part(self.in_flight(subject)),
                b"".join(part(-1 if most is None else most) for most in values),
                part("".join(flags)),
                part("000" + "".join(flags[3:])),
            )
        return written
