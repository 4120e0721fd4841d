"""Reports as one self-contained HTML file: the style, tables and pictures that all of them share.

Everything that comes from outside is escaped; the page's own policy keeps a browser from running or fetching
anything that gets through all the same. Pictures are SVG within the page, so that they take its colours.
"""

import html
import io
import re
import warnings
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class HTML(str):
    """Text that is HTML already."""

    __slots__ = ()


class Share(float):
    """A number that is written in per cent."""

    __slots__ = ()


Cell: TypeAlias = str | float | bool | None
"""Of a table. Strings are escaped, `HTML` is not; numbers stand to the right; None is a dash."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_CSP = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_CSS = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--line:#d5dae0;--paper:#fff;--raised:#f5f7f9;
--link:#0b5cad;--good:#1a6f37;--warn:#8a5a00;--warnbg:#fff6dd;--bad:#b3261e;--badbg:#fdecea}
@media (prefers-color-scheme:dark){:root{--ink:#e4e8ed;--soft:#a3adb8;--line:#353c45;--paper:#14171b;
--raised:#1c2127;--link:#78b7ff;--good:#6ecb87;--warn:#f0c060;--warnbg:#332a12;--bad:#ff9a90;--badbg:#3a1c1a}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:66rem;padding:1.5rem 1rem 4rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .75rem}
h2{font-size:1.25rem;margin:2.5rem 0 .75rem;padding-top:.75rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.5rem 0 .5rem}
a{color:var(--link)}
nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;list-style:none;margin:0;padding:0}
p{max-width:44rem;margin:.5rem 0}
.scroll{overflow-x:auto;margin:.75rem 0}
table{border-collapse:collapse;font-size:.9rem;min-width:20rem;overflow-wrap:normal}
caption{text-align:left;color:var(--soft);padding:.25rem 0}
th,td{text-align:left;vertical-align:top;padding:.3rem .9rem .3rem 0;border-bottom:1px solid var(--line)}
td{max-width:26rem;overflow-wrap:break-word;white-space:pre-line;unicode-bidi:isolate}
th{color:var(--soft);font-weight:600}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
figure{margin:1rem 0}
svg{max-width:100%;height:auto;display:block;color:var(--ink);fill:currentColor}
svg text{font-family:inherit!important;fill:currentColor}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.25rem;margin:.75rem 0}
dt{color:var(--soft)}
dd{margin:0}
@media (max-width:32rem){dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.5rem}}
.notice{border-left:.25rem solid var(--warn);background:var(--warnbg);padding:.5rem .9rem;max-width:none}
.notice.error{border-color:var(--bad);background:var(--badbg)}
.good{color:var(--good)}
.bad{color:var(--bad)}
code,pre{font-family:ui-monospace,monospace;font-size:.9em}
pre{background:var(--raised);padding:.75rem;overflow-x:auto;white-space:pre-wrap}
summary{cursor:pointer;color:var(--link)}
@media print{body{max-width:none}nav{display:none}}
"""


def escape(text: object) -> HTML:
    """Text of anybody as HTML; characters that HTML cannot hold become U+FFFD."""
    return HTML(html.escape(_CONTROLS.sub("\ufffd", str(text))))


def paragraph(text: object) -> HTML:
    """A paragraph of plain text."""
    return HTML(f'<p dir="auto">{_filled(text)}</p>\n')


def notice(text: object, *, error: bool = False) -> HTML:
    """A paragraph that wants to be seen: a warning, or an error."""
    kind = "notice error" if error else "notice"
    return HTML(f'<p class="{kind}" role="note">{_filled(text)}</p>\n')


def facts(pairs: Iterable[tuple[str, Cell]]) -> HTML:
    """Names with their values."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{_cell(value)[0]}</dd>\n" for name, value in pairs)
    return HTML(f"<dl>\n{rows}</dl>\n")


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]], caption: str = "") -> HTML:
    """A table that scrolls by itself where the window is narrow.

    Raises:
        ValueError: a row has more or fewer cells than the head.
    """
    body, numeric = [], [False] * len(head)
    for row in rows:
        cells = []
        for index, (_, value) in enumerate(zip(head, row, strict=True)):
            text, number = _cell(value)
            numeric[index] = numeric[index] or number
            cells.append(f'<td class="number">{text}</td>' if number else f'<td dir="auto">{text}</td>')
        body.append(f"<tr>{''.join(cells)}</tr>\n")
    heads = "".join(
        f'<th scope="col"{" class=number" if number else ""}>{escape(name)}</th>'
        for name, number in zip(head, numeric, strict=True)
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    label = escape(caption or ", ".join(head))
    return HTML(
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table>{title}'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{''.join(body)}</tbody></table></div>\n"
    )


def details(summary: str, body: str) -> HTML:
    """HTML that is folded away until it is asked for."""
    return HTML(f"<details><summary>{escape(summary)}</summary>\n{body}</details>\n")


def chart(width: float = 7.0, height: float = 3.2, columns: int = 1) -> tuple["Figure", Any]:
    """An empty picture in the shared style and its axes (an array of them for several columns).

    Args:
        width: inches
        height: inches
        columns: pictures side by side
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns)
    for each in [axes] if columns == 1 else axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(axis="y", color="#808080", alpha=0.25, linewidth=0.6)
        each.set_axisbelow(True)
    return figure, axes


def figure(fig: "Figure", alt: str = "") -> HTML:
    """A matplotlib figure as SVG within the page: black becomes the page's ink, the background is the page's.

    The same figure gives the same text, and figures of one page share no ids.

    Args:
        fig: the figure
        alt: what it shows, for those who do not see it; its title if left out
    """
    svg = _svg(fig)
    alt = alt or fig.get_suptitle() or " and ".join(filter(None, (axes.get_title() for axes in fig.axes)))
    salt = "f" + sha256(svg.encode()).hexdigest()[:10]
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{salt}-", svg)
    # The page's ink instead of black, in lines as in fills; what has no colour of its own inherits it.
    svg = re.sub(r"(stroke|fill): ?#000000", r"\1: currentColor", svg)
    head, _, rest = svg.partition(">")
    label = escape(alt)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    width, height = (round(96 * inches) for inches in fig.get_size_inches())
    opened = (
        f'{head} width="{width}" height="{height}" role="img" aria-label="{label}"><title>{label}</title>'
    )
    return HTML(f"<figure>{opened}{rest}</figure>\n")


def page(title: str, sections: Iterable[tuple[str, str]]) -> str:
    """A whole page.

    Args:
        title: plain text
        sections: heading (plain text) and body (HTML: what the functions of this module return, joined)
    """
    parts, links = [], []
    for number, (heading, body) in enumerate(sections, 1):
        links.append(f'<li><a href="#part-{number}">{escape(heading)}</a></li>')
        parts.append(f'<section id="part-{number}"><h2>{escape(heading)}</h2>\n{body}</section>\n')
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_CSP}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(title)}</h1>\n"
        f"<nav aria-label=Contents><ul>{''.join(links)}</ul></nav></header>\n"
        f"<main>\n{''.join(parts)}</main>\n</body>\n</html>\n"
    )


def _filled(text: object) -> str:
    return text if isinstance(text, HTML) else escape(text)


def _cell(value: Cell) -> tuple[str, bool]:
    """A value as HTML, and whether it is a number."""
    if value is None:
        return "–", False  # noqa: RUF001 - a dash for what is not there
    if isinstance(value, bool):
        return ("yes" if value else "no"), False
    if isinstance(value, str):
        return _filled(value), False
    if isinstance(value, Share):
        return f"{value:.{1 if value >= 0.0995 else 2}%}" if value else "0%", True
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}", True
    return f"{value:,.0f}", True


def _svg(fig: "Figure") -> str:
    """A figure's SVG, without what stands around it in a file of its own."""
    import matplotlib
    from matplotlib.text import Text

    buffer = io.StringIO()
    unset = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with (
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "slipway"}),
        warnings.catch_warnings(),
    ):
        # The browser has glyphs that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        for text in fig.findobj(Text):
            text.set_parse_math(False)  # A dollar sign in somebody's data is no formula.
            text.set_text(_CONTROLS.sub("\ufffd", text.get_text()))
        for axes in fig.axes:
            for axis in (axes.xaxis, axes.yaxis):
                _write_plainly(axis)
        fig.savefig(buffer, format="svg", transparent=True, metadata=unset)
    whole = buffer.getvalue()
    return re.sub(r"<!--.*?-->\s*", "", whole[whole.index("<svg") :], flags=re.DOTALL).strip()


def _write_plainly(axis: Any) -> None:
    """Numbers instead of formulas at a logarithmic axis that has no format of its own."""
    from matplotlib.ticker import FuncFormatter, LogFormatter, NullFormatter

    if isinstance(axis.get_major_formatter(), LogFormatter):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:{',.0f' if value >= 1 else 'g'}}"))
        axis.set_minor_formatter(NullFormatter())
