# Functions shared by the scripts; source this file, do not run it. It needs only bash and the tools of a
# minimal Debian, because scripts/demo.sh and install-deps.sh start on bare machines.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export ROOT
# Where scripts/install-deps.sh unpacks what must not be installed.
PATH=$PATH:$ROOT/build/tools/bin

say() {
    printf '%s\n' "$*"
}

warn() {
    printf '%s\n' "$*" >&2
}

die() {
    warn "$(basename "$0"): $*"
    exit 1
}

# usage: prints the calling script's header comment as its help text.
usage() {
    sed -n '2,/^$/ s/^# \{0,1\}//p' "$0"
}

# die_usage ARGUMENT: reports an unknown argument and exits with 64 (EX_USAGE).
die_usage() {
    warn "$(basename "$0"): unknown argument \"$1\""
    usage >&2
    exit 64
}

# reject_arguments ARGUMENT...: the command line of a script that takes no arguments. -h prints the help
# and exits; anything else is a usage error. Scripts with options of their own call it for the rest.
reject_arguments() {
    case ${1-} in
    "") ;;
    -h | --help) usage && exit ;;
    *) die_usage "$1" ;;
    esac
}

# make_variable NAME [VARIABLE=VALUE...]: the words of a Makefile variable, one per line.
make_variable() {
    local name=$1
    shift
    make -s --no-print-directory "$@" --eval="print-variable: ; @printf '%s\n' \$($name)" print-variable
}

# project_files EXPRESSION...: the files of the project that match an expression of find, sorted; what is
# built or kept on this machine only (.gitignore) is left out. Needs no git, so it works on an archive.
project_files() {
    find . \( -path ./.git -o -path ./build -o -path ./.demo -o -path ./bench -o -path ./secrets \) -prune \
        -o -type f \( "$@" \) -printf '%P\n' | sort
}

cpu_count() {
    nproc 2>/dev/null || echo 1
}

# port_is_open PORT: whether 127.0.0.1:PORT accepts connections.
port_is_open() {
    (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# random_hex BYTES: that many random bytes as hexadecimal digits.
random_hex() {
    od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'
}

# now_ms: wall-clock time in milliseconds. Good enough for timeouts of seconds.
now_ms() {
    local now=${EPOCHREALTIME/[.,]/}
    echo "${now%???}"
}

# http_request METHOD PORT PATH [BODY]: sends one request to 127.0.0.1 and prints the response body.
# Fails unless the status is 200; 7 and 52 mean what they mean to curl. Pure bash, so a bare machine
# needs no curl.
http_request() (
    method=$1 port=$2 path=$3 body=${4-}
    { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null || return 7
    printf '%s %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n' \
        "$method" "$path" "$port" >&3
    if [[ $method == POST ]]; then
        printf 'Content-Type: application/json\r\nContent-Length: %d\r\n' \
            "$(printf '%s' "$body" | wc -c)" >&3
    fi
    printf '\r\n%s' "$body" >&3
    IFS=$' \r' read -r _ status _ <&3 || return 52
    length=
    while IFS=$'\r\n' read -r header <&3 && [[ -n $header ]]; do
        [[ ${header,,} =~ ^content-length:\ *([0-9]+) ]] && length=${BASH_REMATCH[1]}
    done
    if [[ -n $length ]]; then head -c "$length" <&3; else cat <&3; fi
    [[ $status == 200 ]]
)

# json_string TEXT: TEXT as a quoted JSON string.
json_string() {
    local text=$1
    text=${text//\\/\\\\}
    text=${text//\"/\\\"}
    text=${text//$'\n'/\\n}
    text=${text//$'\t'/\\t}
    printf '"%s"' "$text"
}

# json_flatten: converts JSON on stdin to lines "path<TAB>value", e.g. "0.content<TAB>Hello". Strings keep
# their JSON escapes, so every value is one line.
json_flatten() {
    awk '
        function skip() { while (substr(text, at, 1) ~ /[ \t\r\n]/) at++ }
        function string(    start, piece) {
            start = ++at
            while ((piece = substr(text, at, 1)) != "\"") {
                if (piece == "") { print "json_flatten: invalid JSON" > "/dev/stderr"; exit 1 }
                at += piece == "\\" ? 2 : 1
            }
            return substr(text, start, at++ - start)
        }
        function join(path, key) { return path == "" ? key : path "." key }
        function members(path, closing,    key, count) {
            at++; skip(); count = 0
            while (substr(text, at, 1) != closing) {
                if (at > length(text)) exit 1
                key = count++
                if (closing == "}") { key = string(); skip(); at++ }
                value(join(path, key)); skip()
                if (substr(text, at, 1) == ",") { at++; skip() }
            }
            at++
        }
        function value(path,    first, start) {
            skip(); first = substr(text, at, 1)
            if (first == "{") members(path, "}")
            else if (first == "[") members(path, "]")
            else if (first == "\"") print path "\t" string()
            else {
                start = at
                while (substr(text, at, 1) ~ /[-+.0-9a-zA-Z]/) at++
                if (at == start) exit 1
                print path "\t" substr(text, start, at - start)
            }
        }
        { text = text $0 "\n" }
        END { at = 1; value("") }
    '
}

# json_unescape VALUE: decodes the escapes of a string that json_flatten printed.
json_unescape() {
    local value=${1//\\\\/\\x5c}
    value=${value//\\\"/\"}
    printf '%b\n' "${value//\\\//\/}"
}

# json_get PATH: the value at PATH of the JSON on stdin, in json_flatten form; "" if absent.
json_get() {
    # Read to EOF: if awk exited early, SIGPIPE would kill json_flatten and fail the pipeline (pipefail).
    json_flatten |
        awk -F '\t' -v path="$1" '$1 == path && !found++ { print substr($0, length(path) + 2) }'
}

# stop_process PID TIMEOUT_S: sends SIGTERM, then SIGKILL after the timeout. Returns the exit status.
stop_process() {
    local pid=$1 timeout_s=$2 i
    kill -TERM "$pid" 2>/dev/null || true
    for ((i = 0; i < timeout_s * 50; i++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.02
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null
}

# launch LOG COMMAND...: execs COMMAND with its output in LOG; call it with a trailing &. The command gets
# its own session, so Ctrl-C reaches only the script, which then stops the command itself.
launch() {
    local log=$1
    shift
    exec setsid "$@" >"$log" 2>&1 </dev/null
}

# clear_environment: unexports every variable except those that any program needs, so settings that the
# caller exported for another runtime do not leak into the one that a script starts.
clear_environment() {
    local name
    while read -r name; do
        case $name in
        PATH | HOME | LANG | LC_* | TZ | TMPDIR | *SAN_OPTIONS) ;;
        *) export -n "${name?}" ;;
        esac
    done < <(compgen -e)
}

# wait_for_line PID FILE TEXT TIMEOUT_S: waits until FILE has a line containing TEXT and prints the rest of
# that line. Fails if the process exits or the timeout expires first.
wait_for_line() {
    local pid=$1 file=$2 text=$3 timeout_s=$4 i line
    for ((i = 0; i < timeout_s * 50; i++)); do
        line=$(grep -m 1 -F -- "$text" "$file" 2>/dev/null || true)
        if [[ -n $line ]]; then
            printf '%s\n' "${line#*"$text"}"
            return 0
        fi
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.02
    done
    return 1
}

# wait_until TIMEOUT_S COMMAND...: repeats COMMAND until it succeeds. Fails with a message on timeout.
wait_until() {
    local deadline_ms=$(($(now_ms) + $1 * 1000))
    shift
    until "$@" >/dev/null 2>&1; do
        if (($(now_ms) > deadline_ms)); then warn "timed out waiting for: $*" && return 1; fi
        sleep 0.1
    done
}

# npm_has PACKAGE@VERSION: whether npm can install it; if not, prints the reason.
npm_has() {
    command -v npm >/dev/null || { say "npm is not installed, cannot fetch $1" && return 1; }
    timeout 20 npm view "$1" version --fetch-retries=0 >/dev/null 2>&1 ||
        { say "npm cannot find $1: registry unreachable" && return 1; }
}

# npm_install DIR PACKAGE [OPTION...]: installs into DIR, which becomes a package root of its own; otherwise
# npm would prune what an enclosing package does not list.
npm_install() {
    local into=$1
    shift
    mkdir -p "$into"
    echo '{"private": true}' >"$into/package.json"
    (cd "$into" && npm install --no-audit --no-fund --loglevel=error "$@") ||
        die "npm failed to install $1; its output is above"
}

# docker ARGUMENT...: runs the command in $DOCKER (e.g. "sudo -E docker"), docker by default.
docker() {
    local argv
    read -ra argv <<<"${DOCKER:-docker}"
    command "${argv[@]}" "$@"
}

# has_container_engine: whether a container engine with Compose is usable; if not, prints the reason.
has_container_engine() {
    docker version >/dev/null 2>&1 || { say "${DOCKER:-docker}: no container engine is responding" && return 1; }
    docker compose version >/dev/null 2>&1 || { say "${DOCKER:-docker}: the compose plugin is not installed" && return 1; }
}
