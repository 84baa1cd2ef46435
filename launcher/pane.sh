#!/bin/sh
# A tmux pane: runs a node or the network; when it dies, stays and says how to restart it, in lines for narrow panes.
# usage: pane.sh NODE|network COMMAND...
unset PYTHONHOME PYTHONPATH PYTHONSAFEPATH PYTHONINSPECT PYTHONOPTIMIZE  # as in run.sh: tmux may have been started with them
name=$1
shift
if [ "$name" = network ]; then
    who="The network" back="Press Enter to start it again;
the nodes will reconnect."
else
    who="Node $name" back="Press Enter to start it again,
or, if there is a network,
type fixNode $name there."
fi
while :; do
    "$@"
    code=$?
    stty sane 2>/dev/null
    # Below is the dead process's status line, which is out of date.
    printf '\033[?2004l\033[?25h\033[0m\r\033[J\n'
    if [ "$code" -gt 128 ]; then
        printf '%s has crashed (signal %s).\n%s\n' "$who" "$((code - 128))" "$back"
    else
        printf '%s has exited (exit code %s).\nEnter starts it again.\n' "$who" "$code"
    fi
    read -r _ || exit "$code"
done
