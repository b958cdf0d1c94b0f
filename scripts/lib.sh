# Shared by the launchers in this folder: builds the module, starts servers in a folder of their own, and stops them at the end.
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SERVER=${SERVER:-redis-server}
work=$(mktemp -d "${TMPDIR:-/tmp}/ltmc-XXXXXX")
pids=()

cleanup() {
    trap - EXIT INT TERM
    [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

die() {
    printf '%s\n' "$*" >&2
    exit 1
}

need() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || die "$program is missing; scripts/bootstrap installs what LTMC needs"
    done
}

# Sets `module` to the release build, or to LTMC_MODULE.
build_module() {
    need "$SERVER" redis-cli
    local extension=so
    [ "$(uname -s)" != Darwin ] || extension=dylib
    module=${LTMC_MODULE:-${CARGO_TARGET_DIR:-$root/target}/release/libltmc.$extension}
    [ -n "${LTMC_MODULE:-}" ] || make --silent -C "$root" build
    module=$(realpath "$module")
}

# start NAME ARG...: a server in the background with its data and log in $work/NAME.
start() {
    local dir=$work/$1
    shift
    mkdir -p "$dir"
    "$SERVER" "$@" --dir "$dir" --logfile "$dir/server.log" &
    pids+=($!)
}

# start_node NAME PORT ARG...: a server on this machine with the module.
start_node() {
    local name=$1 port=$2
    shift 2
    start "$name" --port "$port" --bind 127.0.0.1 --save '' --loadmodule "$module" "$@"
}

all_alive() {
    local pid
    for pid in "${pids[@]}"; do kill -0 "$pid" 2>/dev/null || return 1; done
}

# until_ok WHAT COMMAND...: waits until the command succeeds; gives up after 20 s or when a server has died.
until_ok() {
    local what=$1 deadline=$((SECONDS + 20))
    shift
    until "$@" >/dev/null 2>&1; do
        if ! all_alive || [ $SECONDS -ge $deadline ]; then
            tail -n 20 "$work"/*/server.log >&2 || true
            die "$what failed"
        fi
        sleep 0.05
    done
}

# answers PORT [OPTION...]: whether a server there answers PING. The options are redis-cli's.
answers() { [ "$(redis-cli "${@:2}" -p "$1" PING)" = PONG ]; }

# Stays until Ctrl-C. A server that goes away is told, not fatal: trying that is what the launchers are for.
stay() {
    echo 'Ctrl-C stops everything.'
    wait "${pids[@]}" || true
}
