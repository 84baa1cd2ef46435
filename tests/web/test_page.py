"""The live page in a real browser, at a real cluster: what it shows, and what its buttons do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.cluster.harness import until
from tests.web.browsing import Site, Surf, site

LEADS = re.compile(r"\bleader\b")
UP = re.compile(r"\bup\b")
NAME_OF_FOCUS = "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("page")) as running:
        yield running


@pytest.fixture
def cluster(shared: Site) -> Site:
    """As if nothing had been done to it."""
    assert shared.call("/api/release", {}).json()["ok"] and shared.call("/api/reset", {}).json()["ok"]
    assert shared.call("/api/wait", {"what": "leader"}).json()["ok"]
    for number in range(1, 6):
        until(partial(shared.is_up, number))  # HTTP is served a moment after a node is in the network
    return shared


def node(page: Page, number: int) -> Locator:
    return page.locator(f"[data-node='{number}']")


def link(page: Page, a: int, b: int) -> Locator:
    return page.locator(f"[data-link='{a},{b}']")


def leader(page: Page) -> int:
    """As the page shows it."""
    shown = page.locator(".node.leader.up")
    expect(shown).to_have_count(1)
    return int(shown.get_attribute("data-node") or 0)


def leads(page: Page, among: set[int]) -> bool:
    shown = page.locator(".node.leader.up").all()
    return len(shown) == 1 and int(shown[0].get_attribute("data-node") or 0) in among


def test_the_page_opens_with_the_key_of_its_address_and_forgets_it_there(cluster: Site, surf: Surf) -> None:
    page = surf.page(cluster.address("stories"))
    expect(page.get_by_label("Story", exact=True)).to_be_visible()
    assert cluster.key not in page.url
    page.reload()
    expect(page.get_by_role("link", name="Stories")).to_have_attribute("aria-current", "page")
    page.get_by_role("link", name="Cluster").click()
    assert leader(page) in range(1, 6)
    page.get_by_role("button", name="Share").click()
    expect(page.get_by_label("Address")).to_have_value(f"http://127.0.0.1:{cluster.port}/#key={cluster.read_key}")
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_without_a_key_it_asks_for_one(cluster: Site, surf: Surf) -> None:
    surf.allowed = ("401",)
    page = surf.page(f"http://127.0.0.1:{cluster.port}/#key=wrong-key-of-somebody")
    expect(page.get_by_text("This key is wrong.")).to_be_visible()
    page.get_by_label("Key").fill(cluster.read_key)
    page.get_by_role("button", name="Open").click()
    assert leader(page) in range(1, 6)


def test_a_node_that_is_failed_by_a_click_is_down_and_another_one_leads(cluster: Site, surf: Surf) -> None:
    page = surf.page(cluster.address())
    old = leader(page)
    node(page, old).click()
    page.get_by_role("button", name="Fail (kill -9)").click()
    expect(node(page, old)).to_have_class(re.compile(r"\bdown\b"))
    others = {1, 2, 3, 4, 5} - {old}
    until(lambda: leads(page, others))
    happened = page.get_by_label("What happened, newest first").locator("li").all_inner_texts()
    told = [line for line in reversed(happened) if re.search(rf"node {old} is (killed|down)|leads", line)]
    killed = max(index for index, line in enumerate(told) if "is killed" in line)
    told = told[killed : killed + 3]
    assert "is killed" in told[0] and "is down" in told[1] and "leads" in told[2], "causes come before effects"
    page.get_by_role("button", name="Start again").click()
    expect(node(page, old)).to_have_class(UP)
    page.get_by_role("button", name="Faults").click()
    expect(page.get_by_label("The faults so far, newest first")).to_contain_text(f"fixNode {old}")


def test_links_are_cut_and_slowed_one_way_and_both(cluster: Site, surf: Surf) -> None:
    surf.allowed = ("status of 400",)
    page = surf.page(cluster.address())
    link(page, 2, 4).focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Cut 4 → 2").click()
    expect(link(page, 2, 4)).to_have_attribute("aria-label", "Link between node 2 and node 4: cut from 4 to 2")
    page.get_by_role("button", name="Cut", exact=True).click()
    expect(link(page, 2, 4)).to_have_class(re.compile(r"\bcut\b"))
    page.get_by_role("button", name="Restore").click()
    page.get_by_label("Delay", exact=True).fill("40")
    page.get_by_label("Direction").select_option("there")
    page.get_by_role("button", name="Set delay").click()
    expect(link(page, 2, 4)).to_have_attribute("aria-label", "Link between node 2 and node 4: 2 to 4: 40 ms")
    page.get_by_label("Loss", exact=True).fill("400")
    page.get_by_role("button", name="Set loss").click()
    expect(page.locator(".said.failed")).to_contain_text("100")
    page.get_by_role("button", name=re.compile("^The network")).click()
    page.get_by_role("button", name="Remove all faults").click()
    expect(link(page, 2, 4)).to_have_attribute("aria-label", "Link between node 2 and node 4: works")


def test_one_operation_step_by_step_and_a_reload_in_the_middle(cluster: Site, surf: Surf) -> None:
    page = surf.page(cluster.address())
    leading = leader(page)
    page.get_by_role("button", name="Hold messages").click()
    page.get_by_role("button", name="Step", exact=True).wait_for()
    follower = leading % 5 + 1
    assert cluster.call("/api/create?wait=0.2", {"context": "by-steps"}, node=follower).status_code == 504
    held = page.locator(".held li")

    def let_go(kind: str, least: int = 1) -> None:
        """All that wait of this kind, once there are so many; what is sent again meanwhile goes on waiting."""
        fresh = held.filter(has_text=re.compile(rf"{kind}\b")).filter(has_not_text="again")
        fresh.nth(least - 1).wait_for()
        while fresh.count():
            number = fresh.first.locator(".mono").inner_text()
            named = page.locator(".mono", has_text=re.compile(f"^{number}$"))
            held.filter(has=named).get_by_role("button", name=re.compile("^Deliver:")).click()
            held.filter(has=named).wait_for(state="detached")

    let_go("Forward")
    held.filter(has_text=re.compile(r"Accept\b")).nth(3).wait_for()
    page.reload()
    expect(page.locator(".hub .count")).to_contain_text("held")
    let_go("Accept")
    let_go("Accepted", least=2)
    let_go("Decide")
    page.get_by_role("button", name="Release").click()
    page.get_by_role("button", name="Hold messages").wait_for()


def test_a_campaign_step_by_step(cluster: Site, surf: Surf) -> None:
    page = surf.page(cluster.address())
    old = leader(page)
    others = {1, 2, 3, 4, 5} - {old}
    page.get_by_role("button", name="Hold messages").click()
    node(page, old).click()
    page.get_by_role("button", name="Fail (kill -9)").click()
    expect(node(page, old)).to_have_class(re.compile(r"\bdown\b"))
    held = page.locator(".held li")
    held.filter(has_text="Prepare <").first.wait_for()
    text = ""
    while "Promise <" not in text and not held.filter(has_text="Promise <").count():
        held.first.wait_for()
        with page.expect_response("**/api/step*") as answered:
            page.get_by_role("button", name="Step", exact=True).click()
        text = answered.value.json()["text"]
        assert "went on: " in text, "a Promise answers a Prepare"
    page.get_by_role("button", name="Release").click()
    until(lambda: leads(page, others))
    expect(page.get_by_label("What happened, newest first")).to_contain_text("campaigns: it asks for promises")


def test_a_story_plays_with_pause_and_steps_and_a_class_may_watch_it(cluster: Site, surf: Surf) -> None:
    page = surf.page(cluster.address("stories"))
    watching = surf.page(cluster.address("stories", cluster.read_key))
    page.get_by_label("Story", exact=True).select_option("split_brain")
    page.get_by_role("button", name="Step", exact=True).click()
    current = page.locator(".story li[aria-current]")
    expect(current).to_have_text("fixAll")
    page.get_by_role("button", name="Step", exact=True).click()
    expect(watching.locator(".story li[aria-current]")).to_have_text(re.compile("reset|wait leader"))
    expect(watching.get_by_label("Story", exact=True)).to_have_value("split_brain")
    assert not watching.get_by_role("button", name="Step", exact=True).count(), "a key to read offers nothing"
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Restart").click()
    expect(current).to_have_text(re.compile("The network splits"))
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Play").wait_for()
    watching.goto(cluster.address("cluster", cluster.read_key))
    expect(watching.get_by_text("Your key allows to watch")).to_be_visible()
    assert cluster.call("/api/failNode", {"node": 1}, key=cluster.read_key).status_code == 403


def test_words_of_the_field_are_explained_where_they_stand(cluster: Site, surf: Surf) -> None:
    page = surf.page(cluster.address("stories"))
    page.locator(".term", has_text="partition").or_(page.locator(".term", has_text="leader")).first.focus()
    expect(page.get_by_role("tooltip")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("tooltip")).to_be_hidden()


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1600, "light")])
def test_nothing_is_wider_than_the_window_and_everything_has_a_name(
    cluster: Site, surf: Surf, width: int, scheme: str
) -> None:
    page = surf.page(cluster.address(), width, color_scheme=scheme, reduced_motion="reduce")
    leader(page)
    page.get_by_text("The same as a table").click()
    expect(page.get_by_role("rowheader")).to_have_count(5)
    for view in ("Conversations", "Stories", "Cluster"):
        page.get_by_role("link", name=view, exact=True).click()
        expect(page.locator(f".view.{view.lower()}")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
        nameless = "[...document.querySelectorAll('button, a, [role=button]')].filter(e => !e.textContent.trim()"
        assert not page.evaluate(f"{nameless} && !e.getAttribute('aria-label')).length"), view


def test_a_node_is_paused_and_resumed_by_keyboard_alone(cluster: Site, surf: Surf) -> None:
    page = surf.page(cluster.address())
    other = leader(page) % 5 + 1

    def go_to(words: str) -> None:
        for _ in range(80):
            page.keyboard.press("Tab")
            focused = page.evaluate(NAME_OF_FOCUS)
            if focused.startswith(words):
                return
        raise AssertionError(f"the keyboard does not reach {words}")

    go_to(f"Node {other}:")
    page.keyboard.press("Enter")
    go_to("Pause")
    page.keyboard.press("Enter")
    expect(node(page, other)).to_have_class(re.compile(r"\bpaused\b"))
    page.keyboard.press("Shift+Tab")
    go_to("Resume")
    page.keyboard.press("Enter")
    expect(node(page, other)).not_to_have_class(re.compile(r"\bpaused\b"))


def test_what_is_no_markup_stays_text_and_no_script_is_let_in(cluster: Site, surf: Surf) -> None:
    surf.allowed = ("Content Security Policy", "Trusted", "Executing inline script")
    page = surf.page(cluster.address())
    leader(page)
    hostile = "<img src=x onerror=window.evil=1><script>window.evil=1</script>"
    answer = cluster.call("/api/node", {"node": 1, "line": f"create {hostile}"})
    assert not answer.json()["ok"]
    event = {"time": 1_700_000_000.0, "kind": "fault", "text": hostile}
    said = f"event: happened\nid: 1\ndata: {json.dumps(event)}\n\n"
    page.route("**/api/events*", lambda route: route.fulfill(body=said, content_type="text/event-stream"))
    page.reload()  # none of what is really told has such words in it, but what is to come might
    expect(page.get_by_label("What happened, newest first")).to_contain_text(hostile)
    refused = """() => { try { document.body.innerHTML = '<b>x</b>'; return false } catch { return true } }"""
    assert page.evaluate(refused), "no text becomes markup"
    page.evaluate("""() => { const script = document.createElement('script'); script.append('window.evil = 1')
        try { document.body.append(script) } catch { } }""")
    asked = page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'asked', () => 'refused')")
    assert asked == "refused" and page.evaluate("window.evil") is None


def test_a_nodes_page_has_conversations_and_leads_to_the_networks(cluster: Site, surf: Surf) -> None:
    page = surf.page(cluster.address(node=2))
    expect(page.get_by_role("link", name="Conversations")).to_have_attribute("aria-current", "page")
    page.get_by_role("link", name="Cluster (at the network)").click()
    assert leader(page) in range(1, 6)
    assert page.url.startswith(f"http://127.0.0.1:{cluster.port}/") and cluster.key not in page.url


def test_a_key_is_all_that_a_nodes_page_needs(cluster: Site, surf: Surf) -> None:
    surf.allowed = ("401",)
    assert cluster.call("/api/create", {"context": "shown"}, 3).json()["ok"]
    page = surf.page(cluster.address(node=2))  # as printed where there is no network, and as shared
    shown = page.get_by_role("link", name="shown")
    expect(shown).to_be_visible()
    page.goto(cluster.address(key="wrong", node=2))
    expect(page.get_by_text("This key is wrong.")).to_be_visible()
    page.get_by_label("Key").fill(cluster.key)
    page.get_by_role("button", name="Open").click()
    shown.click()
    expect(page.get_by_role("heading", name="shown")).to_be_visible()
    page.goto(cluster.address(key=cluster.read_key, node=2))
    expect(shown).to_be_visible()
    expect(page.get_by_role("button", name="Create")).to_have_count(0)
    typed = surf.page(cluster.address(node=2).partition("#")[0])
    typed.get_by_label("Key").fill(cluster.key)
    typed.get_by_role("button", name="Open").click()
    expect(typed.get_by_role("link", name="shown")).to_be_visible()
    assert cluster.call("/api/create", {"context": "followed"}, 3).json()["ok"]
    expect(typed.get_by_role("link", name="followed")).to_be_visible()


def test_the_keyboard_skips_to_the_content_of_the_view_that_is_open(cluster: Site, surf: Surf) -> None:
    page = surf.page(cluster.address("stories"))
    page.get_by_label("Story", exact=True).wait_for()
    page.get_by_role("link", name="To the content").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    assert page.evaluate("location.hash") == "#/stories"
    expect(page.get_by_label("Story", exact=True)).to_be_visible()
