"""What a node's user does: commands, files, news, and how they look. See runtime/session.py."""
