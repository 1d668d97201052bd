# What the scripts of this directory share. Sourced, never run. Needs nothing but bash and what every Debian has.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export ROOT

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

# Prints the comment at the top of the calling script, which is its help.
usage() {
    sed -n '2,/^$/ s/^# \{0,1\}//p' "$0"
}

# die_usage WORD: an argument that nobody knows.
die_usage() {
    warn "$(basename "$0"): unknown argument \"$1\""
    usage >&2
    exit 64
}

cpu_count() {
    nproc 2>/dev/null || echo 1
}

# is_open PORT: whether something on this machine accepts connections on it.
is_open() {
    (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# random_hex BYTES
random_hex() {
    od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'
}

# Milliseconds on the wall clock; good enough to time what takes some.
now_ms() {
    local now=${EPOCHREALTIME/[.,]/}
    echo "${now%???}"
}

# http METHOD PORT PATH [BODY]: one request to this machine; prints the body. Fails unless the
# status is 200. Made of bash alone, so that a bare machine needs no further package.
http() (
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

# json_string TEXT: TEXT as a JSON string, quotes included.
json_string() {
    local text=$1
    text=${text//\\/\\\\}
    text=${text//\"/\\\"}
    text=${text//$'\n'/\\n}
    text=${text//$'\t'/\\t}
    printf '"%s"' "$text"
}

# json_flat: turns JSON on standard input into lines "path<TAB>value", e.g. "0.content<TAB>Hello".
# Line ends inside strings stay written as \n, so that each value is one line.
json_flat() {
    awk '
        function skip() { while (substr(text, at, 1) ~ /[ \t\r\n]/) at++ }
        function string(    start, piece) {
            start = ++at
            while ((piece = substr(text, at, 1)) != "\"") {
                if (piece == "") { print "json_flat: broken JSON" > "/dev/stderr"; exit 1 }
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

# json_text VALUE: a string as json_flat writes it, with its line ends and quotes as they are meant.
json_text() {
    local value=${1//\\\\/\\x5c}
    value=${value//\\\"/\"}
    printf '%b\n' "${value//\\\//\/}"
}

# json_get PATH: one value of the JSON on standard input, as json_flat writes it; "" if not there.
json_get() {
    # Reads on to the end, or json_flat would be ended by SIGPIPE and seem to have failed.
    json_flat |
        awk -F '\t' -v path="$1" '$1 == path && !found++ { print substr($0, length(path) + 2) }'
}

# stop_process PID LIMIT_S: SIGTERM, then SIGKILL when it has not ended in time. Its exit status.
stop_process() {
    local pid=$1 limit_s=$2 i
    kill -TERM "$pid" 2>/dev/null || true
    for ((i = 0; i < limit_s * 50; i++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.02
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null
}

# launch LOG COMMAND...: becomes COMMAND, with LOG as its output. Called with & behind it, in a
# session of its own, so that a Ctrl-C reaches only the script, which then ends it.
launch() {
    local log=$1
    shift
    exec setsid "$@" >"$log" 2>&1 </dev/null
}

# Forgets every exported variable but those that any program needs: what the caller has set for a
# runtime of his own must not reach one that a script starts.
forget_environment() {
    local name
    while read -r name; do
        case $name in
        PATH | HOME | LANG | LC_* | TZ | TMPDIR | *SAN_OPTIONS) ;;
        *) export -n "${name?}" ;;
        esac
    done < <(compgen -e)
}

# wait_for_words PID FILE WORDS LIMIT_S: until FILE has a line with WORDS; prints what stands behind
# them. Fails when the process ends or the limit is over.
wait_for_words() {
    local pid=$1 file=$2 words=$3 limit_s=$4 i line
    for ((i = 0; i < limit_s * 50; i++)); do
        line=$(grep -m 1 -F -- "$words" "$file" 2>/dev/null || true)
        if [[ -n $line ]]; then
            printf '%s\n' "${line#*"$words"}"
            return 0
        fi
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.02
    done
    return 1
}

# wait_until LIMIT_S COMMAND...: until COMMAND succeeds; fails, and says so, when the time is over.
wait_until() {
    local deadline_ms=$(($(now_ms) + $1 * 1000))
    shift
    until "$@" >/dev/null 2>&1; do
        if (($(now_ms) > deadline_ms)); then warn "not within the time: $*" && return 1; fi
        sleep 0.1
    done
}

# npm_offers PACKAGE@VERSION: whether npm finds it; else prints the reason.
npm_offers() {
    command -v npm >/dev/null || { say "there is no npm here, from which $1 comes" && return 1; }
    timeout 20 npm view "$1" version --fetch-retries=0 >/dev/null 2>&1 ||
        { say "npm finds no $1: its registry is out of reach" && return 1; }
}

# npm_install FOLDER PACKAGE [OPTION...]: into a directory of its own, or npm would tidy up.
npm_install() {
    local into=$1
    shift
    mkdir -p "$into"
    echo '{"private": true}' >"$into/package.json"
    (cd "$into" && npm install --no-audit --no-fund --loglevel=error "$@") ||
        die "npm could not install $1; its words are above"
}

# docker ARGUMENT...: the command in DOCKER, e.g. "sudo -E docker", or docker itself.
docker() {
    local words
    read -ra words <<<"${DOCKER:-docker}"
    command "${words[@]}" "$@"
}

# has_engine: whether a container engine with Compose answers; else prints the reason.
has_engine() {
    docker version >/dev/null 2>&1 || { say "no container engine answers ${DOCKER:-docker}" && return 1; }
    docker compose version >/dev/null 2>&1 || { say "${DOCKER:-docker} has no compose plugin" && return 1; }
}
