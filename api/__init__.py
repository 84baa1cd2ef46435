"""Commands, results, events and errors as msgspec structs: the one schema behind --json, sockets, HTTP and their
documentation; and the typed client of a node or the orchestrator."""
