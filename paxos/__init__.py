"""Multi-Paxos as pure code: messages in, messages out. No socket, clock, thread, file or LLM may be imported here."""
