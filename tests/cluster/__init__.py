"""Real processes: the relay and the nodes as users start them, driven through their JSON prompts."""
