"""What may be typed at a node: one table, and whom its commands are carried out by."""
