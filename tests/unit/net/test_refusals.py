from __future__ import annotations

from net.relay.refusals import MAX_LINES, MAX_SAME, RefusalNotice, Refusals
from tests.unit.net.net_tools import run, until


def test_a_flood_is_a_few_lines_and_a_number_and_one_code_hides_no_other() -> None:
    async def main() -> None:
        told: list[RefusalNotice] = []
        refusals = Refusals(told.append, window_s=0.05)
        for number in range(100):
            refusals.add("protocol", f"a stranger sent frame {number}", "1.2.3.4")
        refusals.add("secret", "node 3 does not know the secret", "1.2.3.5")
        assert [notice.code for notice in told] == ["protocol"] * MAX_LINES + ["secret"]
        assert told[-1] == RefusalNotice("secret", "node 3 does not know the secret", "1.2.3.5")
        await until(lambda: len(told) == MAX_LINES + 2)
        more = 100 - MAX_LINES
        assert told[-1] == RefusalNotice("protocol", f"{more} more like this within 0.05 s", count=more)
        refusals.add("protocol", "a stranger sent nonsense", "1.2.3.4")
        assert told[-1].reason == "a stranger sent nonsense"
        refusals.close()

    run(main())


def test_the_same_line_is_not_told_for_ever() -> None:
    async def main() -> None:
        told: list[RefusalNotice] = []
        refusals = Refusals(told.append)
        for _ in range(10):
            refusals.add("secret", "node 3 does not know the secret", "1.2.3.5")
        assert len(told) == MAX_SAME
        refusals.close()

    run(main())
