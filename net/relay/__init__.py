"""The relay: accepts nodes, routes their frames, and makes faults on purpose."""
