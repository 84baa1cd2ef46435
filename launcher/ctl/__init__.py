"""`ctl.py`: one command at a running node or at the network, for scripts."""
