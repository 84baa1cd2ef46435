"""Conversations to be imported."""

from __future__ import annotations

import json

from kvstore.payloads import encode
from kvstore.store import Store
from server.records import conversation_record
from server.transfer import TransferError, parse, to_json, to_markdown
from tests.fuzz.target import Form, Target
from tests.fuzz.targets import operations


def check(data: bytes) -> None:
    for chosen_only in (False, True):
        try:
            wanted = parse(data, None, chosen_only)
        except TransferError as error:
            assert str(error) and "\x1b" not in str(error) and len(str(error)) < 2000
            continue
        store = Store()
        outcome = store.apply(1, encode(wanted.operation))
        assert outcome.ok, f"checked, and then refused: {outcome.error}"
        record = conversation_record(store.conversations[wanted.operation.context])
        assert len(record.turns) == wanted.turns
        assert "\x1b" not in to_markdown(record)
        again = parse(to_json(record).encode())
        assert again.operation == wanted.operation and not again.given_up


def seeds() -> list[bytes]:
    store = Store()
    for position, payload in enumerate(operations.seeds(), 1):
        store.apply(position, payload)
    exported = [to_json(conversation_record(each)).encode() for each in store.conversations.values()]
    return [*exported, *(json.dumps(json.loads(each)).encode() for each in exported)]


TARGET = Target("files to import", check, seeds, Form.JSON, examples=250)
