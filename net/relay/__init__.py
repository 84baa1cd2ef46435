"""The relay: accepts nodes, routes their frames, and injects faults."""
