"""GET /api/stories: the scenarios, with their lines; GET /api/glossary: the words that they use."""

from __future__ import annotations

import re

import msgspec
from aiohttp import web

from api.glossary import WORDS
from orchestrator.script import FRESH, SCENARIOS, SUFFIX, names
from web.guard import json_response


class StoryLine(msgspec.Struct, frozen=True):
    number: int
    """In its file."""
    text: str
    says: bool
    """It is for the reader; any other one is a command."""


class Story(msgspec.Struct, frozen=True):
    name: str
    title: str
    lines: list[StoryLine]


class Stories:
    """Read once: they come with the program."""

    def __init__(self) -> None:
        self._stories = [_story(name) for name in names()]

    async def get(self, request: web.Request) -> web.Response:
        return json_response({"stories": self._stories})


async def glossary(request: web.Request) -> web.Response:
    return json_response({"words": WORDS})


def _story(name: str) -> Story:
    """The first line of a scenario is a comment, which begins with its title."""
    lines = (SCENARIOS / f"{name}{SUFFIX}").read_text("utf-8").splitlines()
    title = re.split(r"[.:,] ", lines[0].removeprefix("#").strip())[0]
    return Story(name, title, [
        StoryLine(number, text.removeprefix("say ").replace(f"-{FRESH}", ""), text.startswith("say "))
        for number, text in enumerate((line.strip() for line in lines), 1) if text and not text.startswith("#")
    ])
