"""How answers look while they come and when they have come, and that nothing in them can do harm."""

import re

import pytest
from playwright.sync_api import expect

from browser.consolepage import Complaints, Console
from browser.scripted import Answer, Script

RICH = """# Title

Some **bold** text with `code`.

```python
def f(x):  # a comment
    return "text"
```

| Left | Right |
|:-----|------:|
| a    | 1     |

- [x] done
- open

See [the docs](https://example.com/docs) and [later][ref].

![a cat](https://example.com/cat.png)

[ref]: https://example.com/ref
"""


def pieces(text: str) -> list[str | dict[str, object]]:
    return list(re.findall(r"\S+\s*|\s+", text))


def test_text_appears_while_the_answer_is_still_coming(console: Console, script: Script) -> None:
    script.answers.append(Answer(["The first ", "half, ", "the rest."], hold_at=2))
    console.ask("Hi")
    expect(console.answer).to_contain_text("The first half,")
    expect(console.answer).not_to_contain_text("the rest")
    expect(console.answer).to_have_attribute("aria-busy", "true")
    script.release()
    expect(console.answer).to_contain_text("The first half, the rest.")
    expect(console.answer).not_to_have_attribute("aria-busy", "true")


def test_markdown_is_rendered(console: Console, script: Script) -> None:
    script.answers.append(Answer(pieces(RICH)))
    console.ask("Hi")
    console.wait_for_answer()
    answer = console.answer
    expect(answer.get_by_role("heading", name="Title")).to_be_visible()
    expect(answer.locator("strong")).to_have_text("bold")
    expect(answer.locator(".code pre")).to_have_text(
        'def f(x):  # a comment\n    return "text"', use_inner_text=True
    )
    expect(answer.locator(".hljs-comment")).to_have_text("# a comment")
    expect(answer.get_by_role("columnheader")).to_have_text(["Left", "Right"])
    expect(answer.get_by_role("checkbox")).to_be_disabled()
    expect(answer.locator("img")).to_have_count(0)
    for name, address in [("the docs", "docs"), ("later", "ref"), ("a cat", "cat.png")]:
        link = answer.get_by_role("link", name=name)
        expect(link).to_have_attribute("href", f"https://example.com/{address}")
        expect(link).to_have_attribute("rel", "noopener noreferrer")
        expect(link).to_have_attribute("target", "_blank")


def test_streamed_and_whole_rendering_are_the_same(console: Console, script: Script) -> None:
    text = RICH * 3
    script.answers += [Answer(list(text)), Answer([text])]
    console.ask("Hi")
    console.wait_for_answer()
    streamed = console.answer.locator(".markdown").last.inner_html()
    console.button("Retry").click()
    expect(console.answer.get_by_label("Answer 2 of 2")).to_be_visible()
    assert console.answer.locator(".markdown").last.inner_html() == streamed


def test_finished_blocks_are_not_rendered_again(console: Console, script: Script) -> None:
    script.answers.append(Answer(["First.\n\n", "Second", " goes on."], hold_at=2))
    console.ask("Hi")
    expect(console.answer).to_contain_text("Second")
    console.page.evaluate("window.first = document.querySelector('.assistant .markdown p')")
    script.release()
    console.wait_for_answer()
    assert console.page.evaluate("window.first.isConnected && window.first.textContent") == "First."


def test_code_can_be_copied(console: Console, script: Script) -> None:
    script.answers.append(Answer(["```sh\nls -l\ncd ..\n```\n"]))
    console.ask("Hi")
    console.wait_for_answer()
    console.button("Copy code").click()
    console.wait_until("document.querySelector('#announcer').textContent === 'Copied'")
    assert console.clipboard() == "ls -l\ncd .."


def test_answer_and_request_id_can_be_copied(console: Console, script: Script) -> None:
    script.answers.append(Answer(["**bold**"]))
    console.ask("Hi")
    console.wait_for_answer()
    console.button("Copy the request id req-1").click()
    console.wait_until("navigator.clipboard.readText().then((text) => text === 'req-1')")
    console.button("Copy answer").click()
    console.wait_until("navigator.clipboard.readText().then((text) => text === '**bold**')")


HOSTILE = [
    "<script>window.harm = 1</script>",
    "<img src=x onerror='window.harm = 1'>",
    "text <img src=x onerror='window.harm = 1'> text",
    "[click me](javascript:window.harm=1)",
    "[click me](JaVaScRiPt&colon;window.harm=1)",
    "[click me](data:text/html,<script>window.harm=1</script>)",
    '![x](x"onerror="window.harm=1)',
    "<a href='javascript:window.harm=1'>click me</a>",
    "<svg><script>window.harm = 1</script></svg>",
    "<iframe srcdoc='<script>parent.harm = 1</script>'></iframe>",
    "<p style='position:fixed;inset:0'>cover</p>",
    "<style>body { display: none }</style>",
    "<form action='https://example.com'><button>Send</button></form>",
    "```\"><img src=x onerror='window.harm = 1'>\ncode\n```",
    "| <img src=x onerror='window.harm = 1'> |\n|---|\n| <script>window.harm = 1</script> |",
    "<details open ontoggle='window.harm = 1'>x</details>",
    '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=harm=1&gt;">',
]


@pytest.mark.parametrize("way", ["streamed", "whole", "sanitizer"])
def test_nothing_in_an_answer_runs(
    console: Console, script: Script, complaints: Complaints, way: str
) -> None:
    page = console.page
    if way == "sanitizer":  # The second line of defence, reached without the first; the policy is the third.
        complaints.expect("Content Security Policy", "violates s")
        page.evaluate(
            """async (parts) => {
              const { sanitize } = await import('./js/markdown/markdown.js');
              for (const part of parts) {
                const item = document.createElement('li');
                item.className = 'assistant';
                item.append(sanitize(part));
                document.querySelector('#turns').append(item);
              }
            }""",
            HOSTILE,
        )
    else:
        text = "\n\n".join(HOSTILE)
        script.answers.append(Answer([*text] if way == "streamed" else [text]))
        console.ask("Hi")
        console.wait_for_answer()
    forbidden = (
        "script, img, iframe, style, form, svg script, [onerror], [ontoggle], [style]:not(.stage), [srcdoc]"
    )
    expect(page.locator(".assistant").locator(forbidden)).to_have_count(0)
    for href in page.locator(".assistant a").evaluate_all(
        "links => links.map((link) => link.getAttribute('href'))"
    ):
        assert href is None or href.startswith(("https://", "http://", "mailto:")), href
    for link in page.locator(".assistant a:not([href])").all():
        link.click()
    assert page.evaluate("window.harm") is None


def test_raw_html_is_shown_as_it_was_written(console: Console, script: Script) -> None:
    script.answers.append(Answer(["Use <b onclick=x>this</b><br>and <div class='x'> H<sub>2</sub>O"]))
    console.ask("Hi")
    expect(console.answer).to_contain_text("<b onclick=x>this")
    expect(console.answer).to_contain_text("<div class='x'>")
    expect(console.answer.locator("sub")).to_have_text("2")


def test_an_answer_cut_by_its_length_says_so(console: Console, script: Script) -> None:
    script.answers.append(Answer(["Once upon"], finish="length"))
    console.ask("Hi")
    expect(console.answer.get_by_text("Cut off")).to_be_visible()
    console.button("Open settings").click()
    expect(console.page.get_by_label("Max tokens")).to_be_focused()


def test_the_engines_count_is_shown_and_an_estimate_is_marked(console: Console, script: Script) -> None:
    script.answers += [Answer(["a ", "b ", "c"]), Answer(["a ", "b ", "c"], usage=False)]
    console.ask("Hi")
    console.wait_for_answer()
    expect(console.answer.locator(".measure").last).to_have_text("3 tokens")
    console.ask("Again")
    console.wait_for_answer()
    expect(console.answer.locator(".measure").last).to_have_text("≈ 3 tokens")


@pytest.mark.parametrize(
    "parts",
    [
        ["<thi", "nk>Let me see.</th", "ink>\n\nForty-two."],
        [
            {"choices": [{"index": 0, "delta": {"reasoning_content": "Let me see."}}]},
            "Forty-two.",
        ],
    ],
)
def test_thoughts_are_folded_away(
    console: Console, script: Script, parts: list[str | dict[str, object]]
) -> None:
    script.answers.append(Answer(parts))
    console.ask("Hi")
    console.wait_for_answer()
    expect(console.answer.locator("> .markdown")).to_have_text("Forty-two.")
    expect(console.answer.get_by_text("Let me see.")).to_be_hidden()
    console.answer.get_by_text("Thoughts").click()
    expect(console.answer.get_by_text("Let me see.")).to_be_visible()


def test_a_long_answer_costs_time_in_proportion(console: Console) -> None:
    """Half a megabyte in some seventy frames: half a minute if each frame rendered all that came before."""
    took = console.page.evaluate(
        """async () => {
          const { MarkdownStream } = await import('./js/markdown/streaming.js');
          const root = document.createElement('div');
          const stream = new MarkdownStream(root);
          const block = 'Some **bold** words.\\n\\n- a list\\n- of two\\n\\n```js\\nlet x = 1;\\n```\\n\\n';
          const start = performance.now();
          for (let count = 0; count * block.length < 500_000; count += 1) {
            stream.push(block);
            if (count % 100 === 0) await new Promise(requestAnimationFrame);
          }
          stream.finish();
          return performance.now() - start;
        }"""
    )
    assert took < 10_000


def test_reading_further_up_is_not_disturbed_and_latest_leads_back(console: Console, script: Script) -> None:
    lines = [f"line {number}\n\n" for number in range(120)]
    script.answers.append(Answer([*lines, "the end"], hold_at=100))
    console.ask("Hi")
    expect(console.answer.get_by_text("line 99")).to_be_in_viewport()
    console.page.mouse.move(400, 300)
    console.page.mouse.wheel(0, -800)
    expect(console.answer.get_by_text("line 99")).not_to_be_in_viewport()
    script.release()
    console.wait_for_answer()
    expect(console.answer.get_by_text("the end")).not_to_be_in_viewport()
    console.button("Latest").click()
    expect(console.answer.get_by_text("the end")).to_be_in_viewport()
    expect(console.button("Latest")).to_be_hidden()
