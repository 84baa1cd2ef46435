"""Quotas, and how much of them is used, as records of the schema."""

from __future__ import annotations

from api.node_results import QuotasRecord, QuotaUse
from kvstore.quotas import FIRST, Size, warn_of_conversations, warn_of_size, warn_of_total
from kvstore.store import Store
from server.byte_rate import ByteRate


def quotas_record(store: Store, rate: ByteRate | None) -> QuotasRecord:
    found, quotas = store.conversations.values(), store.quotas or FIRST
    return QuotasRecord(
        conversations=QuotaUse(len(found), quotas.conversations),
        turns=QuotaUse(max((len(conversation.turns) for conversation in found), default=0), quotas.turns),
        bytes=QuotaUse(max((conversation.bytes for conversation in found), default=0), quotas.bytes),
        total=QuotaUse(store.size, quotas.total),
        bytes_per_minute=QuotaUse(0, None) if rate is None else QuotaUse(rate.used, rate.per_minute),
    )


def warning(store: Store, context: str, created: bool, rate: ByteRate | None) -> str | None:
    """What a user is told who has just added to this conversation, or `created` it, when a quota is nearly used up."""
    if store.quotas is None:
        return None if rate is None else rate.warning()
    conversation = store.conversations.get(context)
    size = Size(0, 0) if conversation is None else Size(len(conversation.turns), conversation.bytes)
    warnings = (
        warn_of_conversations(store.quotas, len(store.conversations)) if created else None,
        warn_of_size(store.quotas, context, size),
        warn_of_total(store.quotas, store.size),
        None if rate is None else rate.warning(),
    )
    return "; ".join(filter(None, warnings)) or None
