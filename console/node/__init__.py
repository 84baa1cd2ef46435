"""What may be typed at a node: the table of commands, and their executor."""
