"""What a node must not forget, on its disk. Whatever is acknowledged here survives a crash at any instant."""
