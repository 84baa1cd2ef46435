"""Submit a command, and it is applied here: the interface, the driver of the Paxos core, and what implements it."""
