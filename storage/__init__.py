"""What a node must not forget, on its disk. Whatever is acknowledged by this room survives a crash at any instant."""
