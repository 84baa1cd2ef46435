"""A node's durable state, on its disk. Whatever this package acknowledges survives a crash at any instant."""
