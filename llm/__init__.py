"""The LLMs: one small file per provider behind one interface, what a node owes, and the desk that does the asking."""
