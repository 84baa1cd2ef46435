"""The live page in a real browser: it loads, shows the cluster, and breaks and mends it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.web.browsing import Site, Surf, site


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("page")) as running:
        yield running


def test_the_page_opens_with_the_key_of_its_address_and_keeps_it_to_itself(cluster: Site, surf: Surf) -> None:
    page = surf.page(cluster.address())
    expect(page.get_by_role("link", name="Cluster")).to_be_visible()
    assert cluster.key not in page.url
    page.reload()
    expect(page.get_by_role("link", name="Stories")).to_be_visible()
    page.get_by_role("link", name="Conversations").click()
    expect(page.get_by_role("heading", name="Conversations")).to_be_visible()
