from __future__ import annotations

from typing import Any

from net.relay.refusals import MAX_LINES, MAX_SAME, Notices
from tests.unit.net.net_tools import run, until


def test_a_flood_is_a_few_lines_and_a_number_and_one_kind_hides_no_other() -> None:
    async def main() -> None:
        told: list[dict[str, Any]] = []
        notices = Notices(told.append, window_s=0.05)
        for number in range(100):
            notices.refused("protocol", f"a stranger sent frame {number}", "1.2.3.4")
        notices.refused("secret", "node 3 does not know the secret", "1.2.3.5")
        assert [event["code"] for event in told] == ["protocol"] * MAX_LINES + ["secret"]
        assert told[-1]["reason"] == "node 3 does not know the secret"
        await until(lambda: len(told) == MAX_LINES + 2)
        assert (told[-1]["code"], told[-1]["count"]) == ("protocol", 100 - MAX_LINES)
        notices.refused("protocol", "a stranger sent nonsense", "1.2.3.4")
        assert told[-1]["reason"] == "a stranger sent nonsense"
        notices.close()

    run(main())


def test_the_same_line_is_not_told_for_ever() -> None:
    async def main() -> None:
        told: list[dict[str, Any]] = []
        notices = Notices(told.append)
        for _ in range(10):
            notices.refused("secret", "node 3 does not know the secret", "1.2.3.5")
        assert len(told) == MAX_SAME
        notices.close()

    run(main())
