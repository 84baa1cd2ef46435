"""The replicated state machine: conversations only. Deterministic: same operations in, same state out."""
