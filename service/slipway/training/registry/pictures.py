"""A lineage as a picture: boxes from left to right, as SVG within a page that needs nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass

from slipway.training.registry.lineage import Node
from slipway.training.reports import HTML, escape, page

_WIDTH, _LINE, _GAP_X, _GAP_Y, _PAD = 250, 16, 46, 14, 8
_FACTS = 3
_LONGEST = 36
_HUES = {
    "request": 265,
    "version": 210,
    "run": 175,
    "evaluation": 45,
    "dataset": 130,
    "source": 95,
    "base": 330,
    "model": 330,
}


@dataclass(frozen=True, slots=True)
class _Box:
    node: Node
    x: float
    y: float
    height: float


def picture(root: Node) -> HTML:
    """The tree as an SVG element."""
    boxes: list[_Box] = []
    lines: list[tuple[_Box, _Box]] = []
    _, bottom = _placed(root, 0, 0.0, boxes, lines)
    width = max(box.x for box in boxes) + _WIDTH
    drawn = "".join([*map(_line, lines), *map(_drawn, boxes)])
    return HTML(
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="Lineage of {escape(root.name)}"'
        f' viewBox="-1 -1 {width + 2} {bottom + 2}" width="{width}" height="{bottom:.0f}"'
        f' font-family="system-ui, sans-serif" font-size="12">{drawn}</svg>'
    )


def document(root: Node) -> str:
    """A page with the picture, and the tree below it as nested lists with all that is known."""
    figure = HTML(f"<figure>{picture(root)}</figure>\n")
    return page(
        f"Lineage of {root.name}",
        [("Picture", figure), ("All that is known", HTML(f"<ul>{_listed(root)}</ul>"))],
    )


def _placed(
    node: Node, level: int, top: float, boxes: list[_Box], lines: list[tuple[_Box, _Box]]
) -> tuple[_Box, float]:
    """Put a node beside the middle of its children; the box, and where the next one may begin."""
    height = 2 * _PAD + _LINE * (2 + min(len(node.brief), _FACTS))
    at, below = top, []
    for child in node.children:
        box, at = _placed(child, level + 1, at, boxes, lines)
        below.append(box)
        at += _GAP_Y
    bottom = max(top + height, at - _GAP_Y if below else at)
    middle = (below[0].y + below[-1].y + below[-1].height) / 2 if below else top + height / 2
    box = _Box(node, level * (_WIDTH + _GAP_X), max(top, min(middle - height / 2, bottom - height)), height)
    boxes.append(box)
    lines += [(box, child) for child in below]
    return box, bottom


def _line(ends: tuple[_Box, _Box]) -> str:
    left, right = ends
    x, y = left.x + _WIDTH, left.y + left.height / 2
    u, v = right.x, right.y + right.height / 2
    middle = (x + u) / 2
    path = f"M{x:.1f} {y:.1f}C{middle:.1f} {y:.1f} {middle:.1f} {v:.1f} {u:.1f} {v:.1f}"
    return f'<path d="{path}" fill="none" stroke="currentColor" stroke-opacity=".4"/>'


def _drawn(box: _Box) -> str:
    hue = _HUES[box.node.kind]
    texts = [
        (f"{box.node.kind}", ' font-size="10" fill-opacity=".7"'),
        (box.node.name, ' font-weight="600"'),
        *((f"{name}: {value}", ' fill-opacity=".8"') for name, value in box.node.brief[:_FACTS]),
    ]
    shown = "".join(
        f'<text x="{box.x + _PAD}" y="{box.y + _PAD + _LINE * (at + 0.75):.1f}" fill="currentColor"{style}>'
        f"{escape(_short(text))}</text>"
        for at, (text, style) in enumerate(texts)
    )
    frame = (
        f'<rect x="{box.x}" y="{box.y:.1f}" width="{_WIDTH}" height="{box.height}" rx="6"'
        f' fill="hsl({hue} 60% 50% / .12)" stroke="hsl({hue} 45% 50%)"/>'
    )
    return f"<g><title>{escape('; '.join(_told(box.node)))}</title>{frame}{shown}</g>"


def _listed(node: Node) -> HTML:
    facts = "; ".join(_told(node))
    below = "".join(_listed(child) for child in node.children)
    return HTML(f"<li>{escape(facts)}{f'<ul>{below}</ul>' if below else ''}</li>\n")


def _told(node: Node) -> Iterator[str]:
    yield f"{node.kind} {node.name}"
    for name, value in node.facts.items():
        yield f"{name}: {value}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
