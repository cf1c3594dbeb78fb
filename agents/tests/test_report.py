"""Words of others stand in the report as they were said, and do nothing there."""

import pytest
from markdown_it import MarkdownIt

from parley_agents.orchestrator.report import plain


@pytest.mark.parametrize(
    "words",
    [
        "tests.test_quotes::test_express AssertionError: assert [] == ['standard']",
        "a < b | c > d, snake_case, 1 ~ 2 # 3",
        "see x[0] (and y)",
    ],
)
def test_what_tests_say_can_be_read_in_the_source_too(words: str) -> None:
    assert plain(words).replace("\\<", "<").replace("\\|", "|") == words


@pytest.mark.parametrize(
    "words",
    [
        "# a heading",
        "> a quotation",
        "- a list",
        "**bold** _slanted_ __fat__ *so* `code`",
        "[a link](https://example.com) and ![a picture](x.png)",
        "[a definition]: https://example.com",
        "<b>HTML</b> <https://example.com>",
        "~~struck~~ and \\*escaped\\*",
    ],
)
def test_markup_is_shown_and_not_obeyed(words: str) -> None:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    inline = parser.parse(plain(words))
    assert [token.type for token in inline] == ["paragraph_open", "inline", "paragraph_close"]
    children = inline[1].children or []
    assert "".join(token.content for token in children) == words
    assert {token.type for token in children} <= {"text", "text_special"}


def test_a_text_that_is_too_long_ends_in_an_ellipsis() -> None:
    assert plain("word " * 100, 20) == "word word word word…"
