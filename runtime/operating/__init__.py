"""What the operator of the network may type, a family of commands a file; runtime/orchestrator.py is their hallway."""
