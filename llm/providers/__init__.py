"""One module per LLM provider, which registers itself (llm/registry.py): to add a provider, add its module here.

All of them are imported to learn their names, so none imports an SDK or an HTTP library before it is used.
"""
