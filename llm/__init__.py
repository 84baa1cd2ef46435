"""The LLMs: a registry of providers behind one interface, the requests that a node has to make, and their scheduler."""
