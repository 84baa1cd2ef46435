"""Benchmarks of ConsensusLLM, of its alternatives, and of the limits of the machine."""
