"""How the text of a search is read: slips, beginnings, parts, and text without spaces."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from registry_service import card_json

from parley_registry.entry import Key
from parley_registry.searching.document import document
from parley_registry.searching.index import Found, Index
from parley_registry.searching.query import Query
from parley_registry.searching.reading import MAX_WORDS
from parley_registry.searching.reasons import reasons
from parley_registry.searching.spelling import Spelling, slips


def card(name: str, description: str, *skills: str) -> dict[str, Any]:
    told = [{"id": one, "name": one, "description": "…", "tags": ["any"]} for one in skills]
    return card_json(name, description=description, skills=told)


CARDS = (
    card("reviewer", "Looks for faults in changes", "review-code"),
    card("auditor", "Works as a reviewer of accounts"),
    card("scheduler", "Deploys to Kubernetes clusters"),
    card("chef", "Finds recipes for cooking dinner at home"),
    card("代码审查员", "检查提交的更改，提出改进意见", "审查代码"),
    card("翻訳エージェント", "日本語と英語の文章を翻訳します"),
    card("코드 검토", "한국어 문서를 번역하고 코드를 검토합니다"),
    card("data 分析师", "用 Python 分析销售数据"),
)


class Cards:
    """An index with cards, and what it finds."""

    def __init__(self) -> None:
        self.index = Index()
        self.cards: dict[Key, Mapping[str, Any]] = {}

    def put(self, *cards: Mapping[str, Any]) -> None:
        for one in cards:
            key = Key("public", one["name"], one["version"])
            self.cards[key] = one
            self.index.put(key, repr(one).encode(), document("public", one))
            self.index.set_state(key, latest=True, values={"health": "up"})
        self.index.commit()

    def drop(self, name: str) -> None:
        self.index.drop(Key("public", name, "1.0.0"))
        self.index.commit()

    def search(self, text: str, **filters: Any) -> Found:
        return self.index.search(Query(text=text, **filters), 20, None)

    def names(self, text: str, **filters: Any) -> list[str]:
        return [key.name for key, _ in self.search(text, **filters).hits]

    def why(self, text: str, name: str) -> list[str]:
        found = self.search(text)
        key = next(key for key, _ in found.hits if key.name == name)
        return reasons(Query(text=text), self.cards[key], latest=True, words=found.words, similarity=None)


@pytest.fixture
def cards() -> Iterator[Cards]:
    cards = Cards()
    cards.put(*CARDS)
    yield cards
    cards.index.close()


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("revewer", ["reviewer", "auditor"]),  # a letter missing
        ("revieewer", ["reviewer", "auditor"]),  # one too many
        ("reviwer", ["reviewer", "auditor"]),
        ("reveiwer", ["reviewer", "auditor"]),  # two changed places
        ("eviewer", ["reviewer", "auditor"]),  # the first missing
        ("kubrnetse", ["scheduler"]),  # two slips in a long word
        ("kubrnets", ["scheduler"]),
        ("diner", ["chef"]),
        ("dxnxer", []),  # two slips in a word of seven letters at most
        ("dinr cooking", []),  # two slips for the four letters
        ("cokking diner", ["chef"]),  # each word on its own
        ("che", ["chef"]),  # the beginning of a word, not a slip
        ("cef", []),  # too short to be a slip
    ],
)
def test_slips_are_forgiven_by_the_length_of_the_word(cards: Cards, typed: str, found: list[str]) -> None:
    assert cards.names(typed) == found


def test_what_fits_as_typed_comes_before_what_fits_with_a_slip(cards: Cards) -> None:
    cards.put(card("misprint", "Once a revewer, a revewer of revewers"))
    assert cards.names("revewer")[0] == "misprint"
    assert set(cards.names("revewer")[1:]) == {"reviewer", "auditor"}
    cards.put(card("revewer", "The typo is its name"))
    assert cards.names("reviewer")[:2] == ["reviewer", "auditor"]


def test_a_word_with_enough_matches_is_no_slip(cards: Cards) -> None:
    cards.put(*(card(f"agent {number}", "reviewers of texts") for number in range(10)))
    cards.put(card("typo", "a revewers club"))
    assert "typo" not in cards.names("reviewers")


def test_a_correction_is_said(cards: Cards) -> None:
    assert "“revewer” read as “reviewer”" in cards.why("revewer", "reviewer")
    assert cards.why("kubrnets", "scheduler") == [
        "description matches “kubernetes”",
        "“kubrnets” read as “kubernetes”",
    ]
    assert not [why for why in cards.why("reviewer", "reviewer") if "read as" in why]


def test_filters_hold_for_corrected_words_too(cards: Cards) -> None:
    assert cards.names("revewer", skill=("review-code",)) == ["reviewer"]
    assert cards.names("revewer", skill=("no-such",)) == []


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("代码", ["代码审查员"]),
        ("代码审查", ["代码审查员"]),
        ("审查代码", ["代码审查员"]),
        ("代码的审查", []),
        ("查", ["代码审查员"]),
        ("改进意见", ["代码审查员"]),
        ("翻訳", ["翻訳エージェント"]),
        ("エージェント", ["翻訳エージェント"]),
        ("ｴｰｼﾞｪﾝﾄ", ["翻訳エージェント"]),  # half width
        ("日本語の翻訳", ["翻訳エージェント"]),
        ("코드", ["코드 검토"]),
        ("한국어 번역", ["코드 검토"]),
        ("python 分析", ["data 分析师"]),
        ("Ｐｙｔｈｏｎ分析", ["data 分析师"]),  # full width, and no space between
        ("pyhton 数据", ["data 分析师"]),
        ("量子力学", []),
    ],
)
def test_chinese_japanese_and_korean_need_no_spaces(cards: Cards, typed: str, found: list[str]) -> None:
    assert cards.names(typed) == found


def test_reasons_show_runs_of_characters_whole(cards: Cards) -> None:
    assert cards.why("代码审查", "代码审查员") == [
        "name matches “代码审查”",
        "matched skill 审查代码 “审查代码”",
    ]


def test_of_many_words_the_most_will_do_when_nothing_has_all(cards: Cards) -> None:
    assert cards.names("find recipes for dinner please") == ["chef"]
    assert "without “please”" in cards.why("find recipes for dinner please", "chef")
    assert cards.names("recipes spaceship") == []
    assert cards.names("recipes spaceship engine") == []


def test_only_so_many_words_count(cards: Cards) -> None:
    many = " ".join(["cooking"] + [f"w{number}" for number in range(200)])
    assert len(cards.search(many).words) == MAX_WORDS


def test_words_that_are_gone_are_neither_found_nor_corrected_to(cards: Cards) -> None:
    cards.drop("scheduler")
    assert cards.names("kubernetes") == []
    assert cards.names("kubrnets") == []
    cards.put(CARDS[2])
    assert cards.names("kubrnets") == ["scheduler"]


def test_an_index_with_much_coming_and_going_stays_as_large_as_what_is_in_it() -> None:
    cards = Cards()
    for number in range(300):
        words = " ".join(f"w{number}x{i}" for i in range(60))
        cards.put(card("changing", words))
    assert cards.names("w299x7") == ["changing"]
    assert cards.names("w298x7") == []
    assert len(cards.index._postings._words) < 200
    assert len(cards.index._vocabulary._lexicon) < 15_000
    cards.index.close()


@pytest.mark.parametrize(
    ("word", "allowed"),
    [("abc", 0), ("abcd", 1), ("abcdefg", 1), ("abcdefgh", 2), ("ab12cd", 0), ("代码审查", 0)],
)
def test_slips_by_length(word: str, allowed: int) -> None:
    assert slips(word) == allowed


def test_no_word_within_reach_is_missed() -> None:
    known = ("review", "preview", "reviews", "revue", "view", "renew")
    spelling = Spelling()
    for word in known:
        spelling.add(word)
    assert {word for word, _ in spelling.near("reviex")} == {"review"}
    assert [word for word, _ in spelling.near("previw")] == ["preview"]
    assert spelling.near("completely") == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 5)), max_size=40))
def test_however_changes_come_the_index_finds_what_is_there(changes: list[tuple[int, int]]) -> None:
    words = ("alpha", "beta", "gamma", "delta", "epsilon")
    cards = Cards()
    held: dict[str, str] = {}
    for who, what in changes:
        name = f"agent{who}"
        if what == len(words):
            held.pop(name, None)
            cards.drop(name)
        else:
            held[name] = words[what]
            cards.put(card(name, f"{words[what]} common"))
    for word in words:
        assert set(cards.names(word)) == {name for name, has in held.items() if has == word}
    assert set(cards.names("common")) == set(held)
    cards.index.settle(now=True)
    for word in words:
        assert set(cards.names(word)) == {name for name, has in held.items() if has == word}
    cards.index.close()


def test_what_just_came_is_ranked_among_the_others() -> None:
    cards = Cards()
    cards.put(*(card(f"agent{number}", "one of many parsers") for number in range(20)))
    cards.put(card("parser", "It parses", "parser"))
    assert not cards.index.settled
    assert cards.names("parser")[0] == "parser"
    cards.index.settle(now=True)
    assert cards.names("parser")[0] == "parser"


def test_what_is_dropped_leaves_the_ranker_too() -> None:
    cards = Cards()
    for _ in range(5):
        cards.put(card("again", "the same words"))
    cards.index.settle(now=True)
    assert cards.index._ranker._searcher.num_docs == 1
    cards.index.close()
