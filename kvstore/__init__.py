"""The replicated state machine: conversations, and nothing else. Pure: same operations in, same state out."""
