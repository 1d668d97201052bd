#!/usr/bin/env bash
# Writes the user data with which a Droplet, or any machine with cloud-init, sets itself up to run
# the runtime of one account.
#
# Usage: scripts/render-cloud-init.sh --account ID --convex-url URL
#            (--image IMAGE | --native RELEASE_URL) [--service-token-file FILE]
#            [--gateway-url URL] [--gateway-token-file FILE] [--output FILE]
#
# The service token is read from FILE, or from standard input; it is never an argument, as those
# can be seen by everybody. --image runs a container; --native installs the program from a directory
# of a web server that holds what `make dist` builds. The output, which holds the tokens, goes to
# standard output, or into a file that only its owner may read.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

readonly TEMPLATE=$ROOT/deploy/cloud-init/user-data.yaml.in
# What DigitalOcean and others take.
readonly MOST_BYTES=16384
readonly URL_FORM='^https?://[A-Za-z0-9._~:/%@-]+$'
readonly NATIVE_PACKAGES='libcurl4 libjansson4 libmicrohttpd12 libssl3'
declare -A given=()

read_arguments() {
    while (($# > 0)); do
        case $1 in
        -h | --help) usage && exit ;;
        --account | --convex-url | --image | --native | --service-token-file | --gateway-url | \
            --gateway-token-file | --output)
            (($# > 1)) || die_argument "$1 needs a value"
            given[${1#--}]=$2
            shift 2
            ;;
        *) die_usage "$1" ;;
        esac
    done
}

die_argument() {
    warn "$(basename "$0"): $*"
    exit 64
}

# need NAME FORM WHAT: an argument that has to be given and to look right.
need() {
    [[ ${given[$1]-} =~ $2 ]] || die_argument "--$1 has to be $3"
}

check_arguments() {
    need account '^[A-Za-z0-9_-]+$' "the account's id"
    need convex-url "$URL_FORM" "an http or https URL"
    if [[ -n ${given[image]-} && -z ${given[native]-} ]]; then
        need image '^[a-z0-9][A-Za-z0-9._:/@-]*$' "an image, e.g. registry.example/runtime:latest"
    elif [[ -n ${given[native]-} && -z ${given[image]-} ]]; then
        need native '^(https?|file)://[A-Za-z0-9._~:/%@-]+$' "a URL"
    else
        die_argument "one of --image and --native has to be given"
    fi
    if [[ -n ${given[gateway-url]-} ]]; then need gateway-url "$URL_FORM" "a URL"; fi
}

# read_token FILE: its first line. It never leaves the shell: printf is no program.
read_token() {
    local token
    read -r token <"$1" || [[ -n $token ]] || die "$1 holds no token"
    token=${token%$'\r'}
    [[ $token =~ ^[[:graph:]]+$ ]] || die "what $1 holds is no token"
    printf '%s' "$token"
}

read_tokens() {
    service_token=$(read_token "${given[service-token-file]:-/dev/stdin}")
    [[ $service_token == "mc_service_${given[account]}_"?* ]] ||
        die "the service token is not one of account ${given[account]}"
    gateway_token=local
    if [[ -n ${given[gateway-token-file]-} ]]; then
        gateway_token=$(read_token "${given[gateway-token-file]}")
    elif [[ -n ${given[gateway-url]-} ]]; then
        warn "no --gateway-token-file: the gateway's token is taken to be \"local\""
    fi
}

# Prints the template without the blocks "#[NAME]" to "#[end]" whose name is not among the arguments.
choose_blocks() {
    awk -v chosen=" $* " '
        /^#\[end\]$/ { skip = 0; next }
        /^#\[[a-z-]+\]$/ { skip = !index(chosen, " " substr($0, 3, length($0) - 3) " "); next }
        !skip' "$TEMPLATE"
}

base64_of() {
    printf '%s' "$1" | base64 -w 0
}

render() {
    local blocks=() packages=docker.io text
    if [[ -n ${given[native]-} ]]; then
        blocks+=(native)
        packages=$NATIVE_PACKAGES
    else
        blocks+=(container)
    fi
    if [[ -n ${given[gateway-url]-} ]]; then blocks+=(gateway-url); fi
    text=$(choose_blocks "${blocks[@]}")
    text=${text//@ACCOUNT_ID@/"${given[account]}"}
    text=${text//@CONVEX_URL@/"${given[convex-url]}"}
    text=${text//@GATEWAY_URL@/"${given[gateway-url]-}"}
    text=${text//@SOURCE@/"${given[image]-}${given[native]-}"}
    text=${text//@PACKAGES@/"$packages"}
    text=${text//@SERVICE_TOKEN@/"$(base64_of "$service_token")"}
    printf '%s\n' "${text//@GATEWAY_TOKEN@/"$(base64_of "$gateway_token")"}"
}

main() {
    local text
    read_arguments "$@"
    check_arguments
    read_tokens
    text=$(render)
    ((${#text} < MOST_BYTES)) || die "the result has ${#text} bytes; $MOST_BYTES are the most"
    if [[ -z ${given[output]-} ]]; then
        printf '%s\n' "$text"
        return
    fi
    (umask 077 && rm -f -- "${given[output]}" && printf '%s\n' "$text" >"${given[output]}")
}

main "$@"
