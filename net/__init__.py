"""TCP between the nodes and the orchestrator: frames, the handshake, the node's connection, and the relay."""
