from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from corral.tui.widgets.markdown import render, settled_length

ANSWER = """# Title

Some **bold *both*** and `code`,
a [link](http://example.org/x).

- one
- two
  - inner
3. third

> said

| a | b |
|---|---|
| 1 | 漢字 |

```python
def f():
    return "[b]"
```

***
done
"""
DRAWN = """Title

Some bold both and code,
a link (http://example.org/x).

• one
• two
  ◦ inner

3. third

┃ said

a  b   
─  ────
1  漢字

╭ python
▏ def f():
▏     return "[b]"

────────────────────────

done"""  # noqa: W291


def test_markdown_is_drawn() -> None:
    assert render(ANSWER).plain == DRAWN


def test_a_growing_text_looks_the_same() -> None:
    assert render(ANSWER, is_growing=True).plain == DRAWN


def test_markup_and_escapes_are_text() -> None:
    text = render("[bold]x[/] [@click=app.exit]y[/] [/foo] \x1b[2J <b>html</b>")
    assert text.plain == "[bold]x[/] [@click=app.exit]y[/] [/foo] ␛[2J <b>html</b>"
    assert "click" not in str(text.spans)


def test_an_open_fence_is_plain_code() -> None:
    assert render("```py\nx = [1\n", is_growing=True).plain == "╭ py\n▏ x = [1"
    growing, finished = render("```py\nx = 1\n", is_growing=True), render("```py\nx = 1\n")
    assert growing.plain == finished.plain
    assert len(growing.spans) < len(finished.spans)


def test_whole_blocks_are_settled() -> None:
    assert settled_length("a paragraph that grows") == 0
    assert settled_length("one\n\ntwo") == len("one\n\n")
    assert settled_length("one\n\n```py\ncode\n\nmore") == len("one\n\n")
    assert settled_length("- a\n\n- b") == 0


@given(
    st.lists(
        st.sampled_from(["# h\n", "text ", "\n\n", "- item\n", "```\n", "> q\n", "| a |\n", "**b", "\u2028", "1. x\n"])
    )
)
def test_settling_never_changes_what_came_before(pieces: list[str]) -> None:
    source = "".join(pieces)
    settled = settled_length(source)
    assert settled <= len(source)
    assert settled == 0 or source[settled - 1] == "\n"
    render(source)
    render(source[settled:], is_growing=True)


@given(st.text())
def test_any_text_can_be_drawn(text: str) -> None:
    render(text)
    assert settled_length(text.replace("\r", "")) <= len(text)
