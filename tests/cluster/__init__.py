"""Real processes: the relay and the nodes as started by users, driven through their JSON prompts."""
