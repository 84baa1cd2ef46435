"""One module for each target, which is its `TARGET`; tests/fuzz/registry.py finds it by the module's name."""
