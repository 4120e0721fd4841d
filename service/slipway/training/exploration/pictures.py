"""The pictures of the exploration report."""

from collections import Counter
from collections.abc import Mapping, Sequence

from slipway.training import reports
from slipway.training.data.versions import Part
from slipway.training.exploration.counting import Lengths
from slipway.training.exploration.statistics import Vocabulary

COLORS: dict[Part, str] = {"train": "#3b82c4", "validation": "#d9822b", "test": "#3a9d6b"}
_BARS = 20
_BINS = 32


def lengths(found: Mapping[Part, Lengths], what: str) -> reports.HTML:
    """Shares of the rows by their length, of each part; lengths grow by factors."""
    from matplotlib.ticker import LogLocator

    figure, axes = reports.chart()
    most = max((each.longest for each in found.values()), default=0)
    edges = _edges(most)
    for part, each in found.items():
        if not each.number:
            continue
        bars = [0.0] * (len(edges) - 1)
        for length, count in each.counts.items():
            at = next((at for at, edge in enumerate(edges[1:]) if length < edge), len(bars) - 1)
            bars[at] += count / each.number
        axes.stairs(bars, edges, label=part, color=COLORS[part], linewidth=1.6, fill=False)
    if most > _BINS:
        least = min(each.shortest for each in found.values() if each.number)
        if least:
            axes.set_xscale("log", subs=[])
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        else:
            axes.set_xscale("symlog", linthresh=10)
        axes.set_xlim(left=0.9 * least)
    axes.set_xlabel(what)
    axes.set_ylabel("share of the rows")
    _percent(axes.yaxis)
    _plain(axes.xaxis)
    _legend(figure)
    return reports.figure(figure, f"Distribution of {what} in {' and '.join(found)}")


def zipf(vocabulary: Vocabulary) -> reports.HTML:
    """How often words occur by their rank, and how many different ones there are as texts go on."""
    figure, (ranks, growth) = reports.chart(columns=2)
    counts = sorted(vocabulary.words.counts.values(), reverse=True)
    places = _places(len(counts))
    ranks.loglog(
        [at + 1 for at in places], [counts[at] for at in places], ".-", color=COLORS["train"], markersize=3
    )
    ranks.set_title("Zipf: words by rank")
    ranks.set_xlabel("rank")
    ranks.set_ylabel("occurrences")
    growth.plot(*zip(*(vocabulary.growth or [(0, 0)]), strict=True), ".-", color=COLORS["test"], markersize=3)
    growth.set_title("Heaps: vocabulary")
    growth.set_xlabel("words read")
    growth.set_ylabel("different words")
    _thousands(growth)
    return reports.figure(figure, "Words by rank, and growth of the vocabulary, in train")


def bars(parts: Mapping[Part, Counter[str]], what: str) -> reports.HTML:
    """Shares of values, the most frequent first, part by part."""
    whole: Counter[str] = Counter()
    for counts in parts.values():
        whole.update(counts)
    names = [name for name, _ in whole.most_common(_BARS)]
    used = {part: counts for part, counts in parts.items() if counts}
    figure, axes = reports.chart(height=0.7 + 0.32 * max(2, len(names)))
    width = 0.8 / max(1, len(used))
    for number, (part, counts) in enumerate(used.items()):
        shares = [counts[name] / counts.total() for name in names]
        places = [at + number * width for at in range(len(names))]
        axes.barh(places, shares, height=width, label=part, color=COLORS[part])
    middle = width * (len(used) - 1) / 2
    axes.set_yticks([at + middle for at in range(len(names))], [_short(name) for name in names])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color="#808080", alpha=0.25, linewidth=0.6)
    axes.set_xlabel("share")
    _percent(axes.xaxis)
    if len(used) > 1:
        _legend(figure)
    return reports.figure(figure, f"Shares of {what} in {' and '.join(used)}")


def labels_by_group(field: str, labels: Mapping[str, Counter[str]]) -> reports.HTML:
    """What share of each group has which label."""
    whole: Counter[str] = Counter()
    for counts in labels.values():
        whole.update(counts)
    groups = sorted(labels, key=lambda value: -labels[value].total())[:_BARS]
    names = [name for name, _ in whole.most_common(8)]
    figure, axes = reports.chart(height=0.9 + 0.32 * max(2, len(groups)))
    left = [0.0] * len(groups)
    colors = ("#3b82c4", "#d9822b", "#3a9d6b", "#b5567d", "#7d68b5", "#8a8f3c", "#4aa6a6", "#a0624a")
    for name, color in zip(names, colors, strict=False):
        shares = [labels[group][name] / labels[group].total() for group in groups]
        axes.barh(range(len(groups)), shares, left=left, height=0.7, label=_short(name), color=color)
        left = [one + other for one, other in zip(left, shares, strict=True)]
    axes.set_yticks(range(len(groups)), [_short(group) for group in groups])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, 1)
    _percent(axes.xaxis)
    _legend(figure)
    return reports.figure(figure, f"Labels by {field}")


def _edges(most: int) -> list[float]:
    """Bins of equal width up to a few, growing beyond."""
    if most <= _BINS:
        return [float(edge) for edge in range(most + 2)]
    factor = (most + 1) ** (1 / _BINS)
    edges = sorted({round(factor**at) for at in range(_BINS + 1)} | {0, most + 1})
    return [float(edge) for edge in edges]


def _places(count: int) -> Sequence[int]:
    """Ranks that are drawn: all of the first ones, then every few per cent."""
    places, at = [], 0
    while at < count:
        places.append(at)
        at = max(at + 1, int(at * 1.12))
    return places


def _percent(axis: object) -> None:
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1, decimals=None))  # type: ignore[attr-defined]


def _plain(axis: object) -> None:
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))  # type: ignore[attr-defined]


def _thousands(axes: object) -> None:
    from matplotlib.ticker import EngFormatter

    for axis in (axes.xaxis, axes.yaxis):  # type: ignore[attr-defined]
        axis.set_major_formatter(EngFormatter(sep=""))


def _legend(figure: object) -> None:
    figure.legend(loc="outside upper left", ncols=4, frameon=False)  # type: ignore[attr-defined]


def _short(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= 32 else f"{name[:31]}…"
