"""docs/commands.md says what the tables say."""

from __future__ import annotations

from console.command_docs import PATH, TABLES, document


def test_the_document_is_up_to_date() -> None:
    assert PATH.read_text("utf-8") == document(TABLES), "python -m console.command_docs --write"


def test_every_command_is_there_with_all_that_help_says() -> None:
    page = document(TABLES)
    for table in TABLES.values():
        for entry in table.entries.values():
            usage = entry.usage
            assert f"`{usage.synopsis}`\n" in page and usage.help[1:] in page
            assert all(line in page for line in usage.details.split("\n"))
            assert f"\n    {usage.example or usage.name}\n    {{" in page
