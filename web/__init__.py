"""The HTTP API of a node. Its modules are loaded when the node runs already, because aiohttp takes a while."""
