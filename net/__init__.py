"""TCP between the nodes and the orchestrator: frames, the handshake, the switch, and faults made on purpose."""
