"""One module per LLM provider."""
