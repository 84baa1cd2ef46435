"""The small model on this machine: one server process for all nodes, how they find it, and how it ranks."""
