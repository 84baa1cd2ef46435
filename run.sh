#!/usr/bin/env bash
# ConsensusLLM: one command to set up, run, stop, reset and test. This file only finds Python; launcher/install.py installs
# into .venv, and what happens then is in launcher/, too.
set -euo pipefail
# Of other programs, whose packages are not ours; and libraries of ours read their docstrings, which PYTHONOPTIMIZE removes.
unset CDPATH PYTHONHOME PYTHONPATH PYTHONSAFEPATH PYTHONINSPECT PYTHONOPTIMIZE
script=${BASH_SOURCE[0]}
while [ -L "$script" ]; do  # it may be called by a link from elsewhere
    target=$(readlink -- "$script")
    case "$target" in
        /*) script=$target ;;
        *) script=$(dirname -- "$script")/$target ;;
    esac
done
here=$PWD
cd -- "$(dirname -- "$script")"

usage() {
    cat <<'TEXT'
examples:
  ./run.sh                      five nodes and the network in six tmux panes
  ./run.sh stop                 stop them; conversations stay on disk
  echo 'net: script failover' | ./run.sh --no-tmux
                                all six in this terminal; exits once every command is answered

usage: ./run.sh [COMMAND]

  (none)        set up if needed, start five nodes and the network (on etcd: the nodes) in tmux, attach
  --no-tmux     all six in this terminal, each line prefixed with its process; type "2: create c1" for node 2,
                "net: failNode 3" for the network. Each runs its own lines in order; "net: node 2: create c1"
                waits for earlier lines of the network. With empty input it runs until SIGTERM (CI, containers).
                What crashes is started again, after a pause that grows; what failNode has crashed is not
  stop          stop them, whatever the configuration says now; conversations stay on disk
  reset         stop them and delete all conversations of this cluster (asks first)
  backup FILE   write all conversations of the running cluster to a file (--force overwrites one)
  restore FILE  make a new cluster from a backup, where there are no conversations yet; ./run.sh then starts it
  rescue [N]    after the loss of a majority of disks: make a new cluster from what node N still has (without N: from the
                disk that holds the most). The nodes must be stopped; all former files are kept
  page [ROLE]   print the address of the live page, with a key: one that allows everything, or only to read (for a
                class) or to write
  key [ROLE]    print such a key by itself, for the HTTP API
  cert [WHOM]   make certificates for TLS: all that are missing, or those of: ca, network [HOST], node N [HOST], client NAME
  setup         only install into .venv, with uv or pip, exactly what requirements.lock names
  test          set up, then check and test everything
  test --quick  before each commit: the checks and the fast tests, in a few minutes
  test ARGS     the checks, then pytest with ARGS: ./run.sh test tests/unit
  torture [T]   inject faults into a running cluster for a while, e.g. ./run.sh torture 10m (--engine etcd: of nodes on etcd; --members 5)
  fuzz [T]      look for inputs that break something, e.g. ./run.sh fuzz 10m (--help: one target, a fault again)
  bench [ARGS]  benchmark this, etcd and PySyncObj side by side (about 6 minutes; --full: everything, half an hour)
  help          print this text
  --version     print the version

environment: CONFIG=FILE  a configuration other than config.json (clusters can run side by side, each with its own data)
             PYTHON=FILE  a Python other than the first of python3.13, 3.12, 3.11, python3
             NO_COLOR=1   no colours
exit codes: 0 done, 1 failed, 2 wrong command line, 130 interrupted (Ctrl-C)
TEXT
}

fail() { printf 'run.sh: %s\n' "$1" >&2; exit 1; }

find_python() {
    local candidate candidates=(python3.13 python3.12 python3.11 python3)
    [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed: install it (Debian: apt install python3 python3-venv), or set PYTHON=/path/to/python3"
}

# Makes sure that all of a lock file is installed: NAME (as in launcher/install.py), its environment, its lock file.
installed() {
    local python
    [ -x "$2/bin/python" ] && cmp -s "$3" "$2/$(basename "$3")" || {
        python=$(find_python) || exit 1
        "$python" -I launcher/install.py "$1" || exit $?
    }
    require_start "$2/bin/python"
}

# Some of the variables that Python reads can keep it from starting.
require_start() {
    local said
    said=$("$1" -c '' 2>&1 >/dev/null) ||
        fail "Python does not start with your environment ($(compgen -e PYTHON | tr '\n' ' ')): ${said%%$'\n'*}"
}

setup() { installed runtime .venv requirements.lock; }

test_setup() { installed test .venv requirements-test.lock; }

# Before anything is installed.
require_config() {
    [ -z "${CONFIG:-}" ] || { [ -r "$CONFIG" ] && [ ! -d "$CONFIG" ]; } && return
    printf 'run.sh: %s does not exist or cannot be read: copy config.json.example there\n' "$CONFIG" >&2
    exit 2
}

# Simulations take whole cores, and more workers get more of a core that others use, too. mypy, a test here, runs beside
# them. Clusters of real processes mostly wait. What judges by time has the machine to itself.
all_tests() {
    .venv/bin/python -m pytest -n $((4 + 2 * $(getconf _NPROCESSORS_ONLN))) --dist worksteal -m "not alone" \
        tests/test_types.py tests/simulation tests/fuzz tests/unit
    .venv/bin/python -m pytest -m alone tests/unit/llm
    exec .venv/bin/python -m pytest -n 4 --dist loadfile tests/cluster tests/web
}

quick_tests() {
    .venv/bin/python -m pytest -n auto -m "not slow" --durations 5 --durations-min 2
    printf 'Not run, because marked slow (./run.sh test runs all):\n'
    .venv/bin/python -m pytest --collect-only -m slow | sed -n '/::/{s/::.*//;p}' | sort | uniq -c
}

# What guides by coverage is there for one kind of system only, and must fit the Python of .venv.
fuzz_setup() {
    test_setup
    [ "$(uname -sm)" != "Linux x86_64" ] || PYTHON=$PWD/.venv/bin/python installed fuzz .venv-fuzz tests/fuzz/requirements.lock
}

# The simulator and the screen that it measures belong to the tests.
bench_setup() {
    test_setup
    installed bench .venv-bench bench/requirements.lock
}

case "${CONFIG:-/}" in
    /*) ;;
    *) [ ! -e "$here/$CONFIG" ] && [ -e "$CONFIG" ] || export CONFIG=$here/$CONFIG ;;  # named from where the user is
esac
case "${PYTHON:-}" in
    /*) ;;
    */*) PYTHON=$here/$PYTHON ;;
esac

case "${1:-start}" in
    backup | restore)
        command=$1 arguments=()
        shift
        for argument in "$@"; do  # a file is meant where the user is, not here
            case "$argument" in
                -* | /*) arguments+=("$argument") ;;
                *) arguments+=("$here/$argument") ;;
            esac
        done
        require_config
        setup
        exec .venv/bin/python -m launcher "$command" ${arguments[@]+"${arguments[@]}"}
        ;;
    stop)  # needs nothing of what is installed, nor of what the configuration says now
        python=.venv/bin/python
        [ -x "$python" ] || python=$(find_python) || exit 1
        require_start "$python"
        exec "$python" -m launcher.stop "${@:2}"
        ;;
    start | reset | rescue | key | page | cert | --no-tmux)
        require_config
        setup
        exec .venv/bin/python -m launcher "${@:-start}"
        ;;
    setup) setup ;;
    test)
        shift
        test_setup
        .venv/bin/python -m ruff check .
        case "$*" in
            "") all_tests ;;
            --quick)
                .venv/bin/python -m mypy .
                quick_tests
                ;;
            *)
                .venv/bin/python -m mypy .
                exec .venv/bin/python -m pytest "$@"
                ;;
        esac
        ;;
    torture)
        shift
        test_setup
        exec .venv/bin/python -m tests.cluster.torture "$@"
        ;;
    fuzz)
        shift
        fuzz_setup
        export PYTHONPATH
        PYTHONPATH=$(echo "$PWD"/.venv-fuzz/lib/python3*/site-packages)
        exec .venv/bin/python -m tests.fuzz "$@"
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
