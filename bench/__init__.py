"""Measurements of ConsensusLLM, of what people would pick instead, and of what the machine allows at best."""
