"""What a node tells of the members: when they change, or are not those of its configuration file."""

from __future__ import annotations

import pytest

from engine.interface import Membership
from server.members_notice import MembersNotice


def membership(*members: int, number: int = 1) -> Membership:
    return Membership("00c1", number, dict.fromkeys(members, True))


def test_nothing_is_told_while_the_file_says_what_was_decided() -> None:
    notice = MembersNotice(2, [1, 2, 3])
    assert notice.look(None) is None
    assert notice.look(membership(1, 2, 3)) is None
    assert notice.look(membership(1, 2, 3, number=2)) is None, "a disk was replaced"


def test_a_change_is_told_once() -> None:
    notice = MembersNotice(2, [1, 2, 3])
    assert notice.look(membership(1, 2, 3)) is None
    told = notice.look(membership(1, 2, 3, 6, number=2))
    assert told is not None and told.members == [1, 2, 3, 6] and told.number == 2
    assert told.text == "members: 1, 2, 3, 6"
    assert notice.look(membership(1, 2, 3, 6, number=2)) is None


@pytest.mark.parametrize(("node", "members", "words"), [
    (1, (1, 2, 3, 4, 5), "are 1, 2, 3, 4, 5, as they have decided; config.json lists 1, 2, 3: that founds a cluster"),
    (4, (1, 2, 3, 4, 5), "not obeyed later; node 4 has the common settings"),
    (3, (1, 2), "node 3 is listed in config.json, but no member: the members of cluster 00c1 are 1, 2"),
    (6, (1, 2, 3), "node 6 is no member: the members of cluster 00c1 are 1, 2, 3, as they have decided; addNode 6"),
])
def test_a_file_that_differs_is_told_with_what_counts(node: int, members: tuple[int, ...], words: str) -> None:
    told = MembersNotice(node, [1, 2, 3]).look(membership(*members))
    assert told is not None and words in told.text and told.configured == [1, 2, 3]
