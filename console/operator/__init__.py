"""The operator's prompt: one table of commands, and every view of what they answer."""
