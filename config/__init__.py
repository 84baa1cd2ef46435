"""config.json: schema, checks, messages."""
