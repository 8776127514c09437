"""The growing output: the first piece at once, ten updates a second at most, one clean end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from aiplat_lab.magic._live import MOST_SHOWN, Live


class Screen:
    def __init__(self) -> None:
        self.seen: list[tuple[float, str, bool]] = []

    def __call__(self, data: Mapping[str, Any], *, update: bool) -> None:
        self.seen.append((time.monotonic(), data["text"], update))


def frame(text: str) -> dict[str, str]:
    return {"text": text}


def shown_texts(screen: Screen, count: int) -> list[str]:
    deadline = time.monotonic() + 2
    while len(screen.seen) < count and time.monotonic() < deadline:
        time.sleep(0.005)
    return [text for _, text, _ in screen.seen]


def test_first_at_once_and_then_ten_a_second() -> None:
    screen = Screen()
    live = Live(screen, frame)
    begun = time.monotonic()
    for number in range(100):
        live.add(f"{number} ")
        time.sleep(0.01)
    live.end({"text": "done"})
    took = time.monotonic() - begun
    assert screen.seen[0][1].startswith("0 ") and screen.seen[0][0] - begun < 0.06
    assert [update for _, _, update in screen.seen] == [False] + [True] * (len(screen.seen) - 1)
    assert screen.seen[-1][1] == "done"
    assert 4 <= len(screen.seen) <= took * 10 + 2


def test_what_was_gathered_is_shown_when_the_model_pauses() -> None:
    screen = Screen()
    live = Live(screen, frame)
    live.add("a")
    assert shown_texts(screen, 1) == ["a"]
    live.add("b")
    live.add("c")
    assert shown_texts(screen, 2) == ["a", "abc"]
    live.add("d")
    live.end({"text": "abcd"})
    time.sleep(0.25)
    assert shown_texts(screen, 3) == ["a", "abc", "abcd"]


def test_an_answer_that_is_there_at_once_is_one_output() -> None:
    screen = Screen()
    live = Live(screen, frame)
    live.add("all ")
    live.add("of it")
    live.end({"text": "all of it"})
    time.sleep(0.1)
    assert [(text, update) for _, text, update in screen.seen] == [("all of it", False)]


def test_nothing_shown_before_the_end_is_one_new_output() -> None:
    screen = Screen()
    live = Live(screen, frame)
    live.keep("a")
    live.end({"text": "a"})
    assert [(text, update) for _, text, update in screen.seen] == [("a", False)]


def test_a_long_answer_shows_its_end_while_it_comes() -> None:
    screen = Screen()
    live = Live(screen, frame)
    live.add("x" * (MOST_SHOWN * 3))
    assert len(shown_texts(screen, 1)[0]) == MOST_SHOWN + 2
    assert len(live.text()) == MOST_SHOWN * 3
