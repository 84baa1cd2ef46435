#!/bin/sh
# A node's tmux pane: runs the node, and stays when it dies, saying what brings it back.
# usage: pane.sh PYTHON NODE CONFIG
while :; do
    "$1" node.py "$2" --config "$3"
    code=$?
    stty sane 2>/dev/null
    # What stands below is the dead node's status line, which is not true any more.
    printf '\033[?2004l\033[?25h\033[0m\r\033[J\n'
    if [ "$code" -gt 128 ]; then
        printf 'Node %s has crashed (signal %s).\nfixNode %s at the network, or Enter here, starts it again.\n' \
            "$2" "$((code - 128))" "$2"
    else
        printf 'Node %s has left (exit code %s). Enter starts it again.\n' "$2" "$code"
    fi
    read -r _ || exit "$code"
done
