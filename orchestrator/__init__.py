"""The operator's service: links, nodes, timers, scenarios, supervision of processes. No layout, no terminal."""
