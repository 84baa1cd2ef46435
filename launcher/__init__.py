"""Starts, stops and resets a cluster: tmux panes, the foreground mode, command lines."""
