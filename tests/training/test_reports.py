"""What all reports are made of."""

import re
from html.parser import HTMLParser

import pytest

from slipway.training import reports


class Seen(HTMLParser):
    """The elements, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def drawn(title: str = "Lengths", label: str = "words") -> str:
    fig, axes = reports.chart()
    axes.plot([1, 2, 3], [3, 1, 2], color="black")
    axes.set_title(title)
    axes.set_xlabel(label)
    return reports.figure(fig)


EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


def test_what_users_wrote_stays_text_wherever_it_stands() -> None:
    body = (
        reports.paragraph(EVIL)
        + reports.notice(EVIL)
        + reports.table([EVIL], [[EVIL]], EVIL)
        + reports.facts([(EVIL, EVIL)])
        + reports.details(EVIL, "")
        + drawn(EVIL, EVIL)
    )
    seen = Seen(reports.page(EVIL, [(EVIL, body)]))
    assert "script" not in seen.tags
    assert "img" not in seen.tags
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    # title, heading, link, section heading; paragraph, notice, table (3), facts (2), details; picture (3).
    assert seen.text.count(EVIL) == 4 + 2 + 3 + 2 + 1 + 3


def test_a_page_needs_nothing_from_elsewhere() -> None:
    text = reports.page("A report", [("Lengths", drawn())])
    assert "default-src 'none'" in text
    links = [
        value for name, value in Seen(text).attributes if name in ("src", "href", "xlink:href", "action")
    ]
    assert all(value is not None and value.startswith("#") for value in links)


def test_the_same_figure_gives_the_same_text() -> None:
    assert drawn() == drawn()


def test_figures_of_a_page_share_no_ids_and_their_references_lead_somewhere() -> None:
    text = drawn("One") + drawn("Two")
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    references = re.findall(r'(?:href="#|url\(#)([^")]+)', text)
    assert references
    assert set(references) <= set(ids)


def test_pictures_take_the_colours_of_the_page() -> None:
    text = drawn()
    assert "#000000" not in text
    assert "currentColor" in text
    assert "fill: #ffffff" not in text


def test_a_picture_says_what_it_shows() -> None:
    assert ("aria-label", "Lengths") in Seen(drawn()).attributes


@pytest.mark.parametrize("label", ["costs $5 or $x_{", "日本語", "a\x00b", "half \ud800 pair"])
def test_labels_of_any_text_are_drawn(label: str) -> None:
    text = drawn(label=label)
    assert re.sub("[\x00\ud800]", "\ufffd", label) in Seen(text).text
    text.encode()


def test_numbers_at_logarithmic_axes_are_plain() -> None:
    fig, axes = reports.chart()
    axes.loglog([0.001, 10, 1000], [1, 10, 1000])
    axes.set_title("costs $5 and $6")
    text = reports.figure(fig)
    assert "mathdefault" not in text
    for number in ("0.001", "1,000"):
        assert number in Seen(text).text
    assert "costs $5 and $6" in Seen(text).text


def test_numbers_are_written_for_people() -> None:
    row = [1234567, 0.123456, None, True, 12345.6, reports.Share(0.25), reports.Share(0.0123)]
    seen = Seen(reports.table(["a", "b", "c", "d", "e", "f", "g"], [row]))
    assert seen.tags.count("td") == 7
    assert seen.attributes.count(("class", "number")) == 5 + 5
    for written in ("1,234,567", "0.1235", "–", "yes", "12,346", "25.0%", "1.23%"):  # noqa: RUF001
        assert written in seen.text


def test_a_row_that_does_not_fit_its_head_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        reports.table(["a", "b"], [["only one"]])
