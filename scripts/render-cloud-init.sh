#!/usr/bin/env bash
# Renders the cloud-init user data for a Droplet, or any other machine with cloud-init, that runs the
# runtime of one account.
#
# Usage: scripts/render-cloud-init.sh --account ID --convex-url URL
#            (--image IMAGE | --native RELEASE_URL) [--releases URL] [--signing-key KEY | --sha256 HEX]
#            [--service-token-file FILE] [--gateway-url URL] [--gateway-token-file FILE] [--ssh-port PORT]
#            [--output FILE]
#
# The service token is read from FILE or standard input, never from an argument, which any user could
# read in ps. --image runs a container; --native installs the program from a web directory that holds
# the output of `make dist`. --releases is the directory of one release, with {version} in it. KEY is the
# minisign public key that signs SHA256SUMS there, HEX the digest of the only archive or image to install;
# --native needs one of them. --ssh-port is the only port that the firewall opens (22); another one is
# set in sshd's configuration as well. The result contains the tokens; it goes to standard output, or to a file
# with mode 0600.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

readonly TEMPLATE=$ROOT/deploy/cloud-init/user-data.yaml.in
# User data limit of DigitalOcean and others.
readonly MAX_BYTES=16384
readonly URL_PATTERN='^https?://[A-Za-z0-9._~:/%-]+$'
readonly RELEASE_PATTERN='^(https|file)://[A-Za-z0-9._~:/%{}-]+$'
readonly NATIVE_PACKAGES='libcurl4 libjansson4 libmicrohttpd12 libssl3'
declare -A options=()
ssh_port=22

parse_arguments() {
    while (($# > 0)); do
        case $1 in
        -h | --help) usage && exit ;;
        --account | --convex-url | --image | --native | --releases | --signing-key | --sha256 | \
            --service-token-file | --gateway-url | --gateway-token-file | --output)
            (($# > 1)) || die_argument "$1 needs a value"
            options[${1#--}]=$2
            shift 2
            ;;
        --ssh-port)
            (($# > 1)) || die_argument "$1 needs a value"
            ssh_port=$2
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

# require_option NAME PATTERN WHAT: fails unless option --NAME was given and matches PATTERN.
require_option() {
    [[ ${options[$1]-} =~ $2 ]] || die_argument "--$1 must be $3"
}

# The URLs end up in logs, and in settings that are no secrets.
check_no_credentials() {
    local name
    for name in convex-url gateway-url native; do
        [[ ${options[$name]-} != *@* ]] ||
            die_argument "--$name must not contain a user name or password; the only credentials are the tokens"
    done
}

check_convex_url() {
    local host
    require_option convex-url "$URL_PATTERN" "an http or https URL"
    host=${options[convex-url]#*://}
    host=${host%%[:/]*}
    host=${host,,}
    [[ ${host%.} != *.convex.site ]] ||
        die_argument "--convex-url is the deployment's URL for HTTP actions; it must be the one that ends in .convex.cloud"
}

check_ssh_port() {
    # 1 to 65535
    local pattern='^([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$'
    [[ $ssh_port =~ $pattern ]] || die_argument "--ssh-port must be a port, 1 to 65535"
}

check_arguments() {
    check_no_credentials
    check_ssh_port
    require_option account '^[A-Za-z0-9_-]+$' "the account's id"
    check_convex_url
    if [[ -n ${options[image]-} && -z ${options[native]-} ]]; then
        require_option image '^[a-z0-9][A-Za-z0-9._:/@-]*$' "an image, e.g. registry.example/runtime:latest"
    elif [[ -n ${options[native]-} && -z ${options[image]-} ]]; then
        require_option native "$RELEASE_PATTERN" "an https or file URL: others can be changed on their way"
        [[ -n ${options[signing-key]-}${options[sha256]-} ]] ||
            die_argument "--native needs --signing-key or --sha256: what cannot be verified is not installed"
    else
        die_argument "exactly one of --image and --native is required"
    fi
    check_verification
    if [[ -n ${options[gateway-url]-} ]]; then require_option gateway-url "$URL_PATTERN" "a URL"; fi
}

check_verification() {
    if [[ -n ${options[releases]-} ]]; then
        require_option releases "$RELEASE_PATTERN" "an https or file URL with {version} in it"
    fi
    if [[ -n ${options[signing-key]-} ]]; then
        require_option signing-key '^RW[A-Za-z0-9+/]{54}$' "the second line of a minisign public key file"
    fi
    if [[ -n ${options[sha256]-} ]]; then
        require_option sha256 '^[0-9a-f]{64}$' "64 hexadecimal digits"
    fi
    [[ -z ${options[image]-} || -z ${options[signing-key]-} || -n ${options[releases]-} ]] ||
        die_argument "--signing-key needs --releases for an image: the signed list of digests is there"
}

# read_token FILE: prints its first line. printf is a builtin, so the token never shows up in ps.
read_token() {
    local token
    read -r token <"$1" || [[ -n $token ]] || die "$1: no token found"
    token=${token%$'\r'}
    [[ $token =~ ^[[:graph:]]+$ ]] || die "$1: the token contains blanks or unprintable characters"
    printf '%s' "$token"
}

read_tokens() {
    service_token=$(read_token "${options[service-token-file]:-/dev/stdin}")
    [[ $service_token == "mc_service_${options[account]}_"?* ]] ||
        die "the service token does not belong to account ${options[account]}"
    gateway_token=local
    if [[ -n ${options[gateway-token-file]-} ]]; then
        gateway_token=$(read_token "${options[gateway-token-file]}")
    elif [[ -n ${options[gateway-url]-} ]]; then
        warn "no --gateway-token-file: assuming the gateway token \"local\""
    fi
}

# select_blocks NAME...: prints the template, dropping each block "#[NAME]".."#[end]" that is not listed,
# and with each "#[include FILE]" as the block of text of the line before, without its comments.
select_blocks() {
    awk -v chosen=" $* " -v root="$ROOT" '
        /^#\[include / {
            file = root "/" substr($2, 1, length($2) - 1)
            while (!skip && (getline line <file) > 0) if (line !~ /^(#|$)/) print "      " line
            close(file)
            next
        }
        /^#\[end\]$/ { skip = 0; next }
        /^#\[[a-z-]+\]$/ { skip = !index(chosen, " " substr($0, 3, length($0) - 3) " "); next }
        !skip' "$TEMPLATE"
}

# The script without its comments, which a release brings later.
upgrade_script() {
    sed '2,$ { /^ *#/d; /^$/d }' "$ROOT/deploy/upgrade/mission-control-upgrade" | gzip -9 -n | base64 -w 0
}

base64_of() {
    printf '%s' "$1" | base64 -w 0
}

render() {
    local blocks=() packages=docker.io kind=container text
    if [[ -n ${options[native]-} ]]; then
        blocks+=(native)
        packages=$NATIVE_PACKAGES
        kind=native
    else
        blocks+=(container)
    fi
    if [[ -n ${options[signing-key]-} ]]; then packages+=" minisign"; fi
    if [[ -n ${options[gateway-url]-} ]]; then blocks+=(gateway-url); fi
    if [[ $ssh_port != 22 ]]; then blocks+=(ssh-port); fi
    text=$(select_blocks "${blocks[@]}")
    text=${text//@ACCOUNT_ID@/"${options[account]}"}
    text=${text//@CONVEX_URL@/"${options[convex-url]}"}
    text=${text//@GATEWAY_URL@/"${options[gateway-url]-}"}
    text=${text//@SOURCE@/"${options[image]-}${options[native]-}"}
    text=${text//@KIND@/"$kind"}
    text=${text//@RELEASES@/"${options[releases]-}"}
    text=${text//@SIGNING_KEY@/"${options[signing-key]-}"}
    text=${text//@SHA256@/"${options[sha256]-}"}
    text=${text//@UPGRADE_SCRIPT@/"$(upgrade_script)"}
    text=${text//@SSH_PORT@/$ssh_port}
    text=${text//@PACKAGES@/"$packages"}
    text=${text//@SERVICE_TOKEN@/"$(base64_of "$service_token")"}
    printf '%s\n' "${text//@GATEWAY_TOKEN@/"$(base64_of "$gateway_token")"}"
}

main() {
    local text
    parse_arguments "$@"
    check_arguments
    read_tokens
    text=$(render)
    ((${#text} < MAX_BYTES)) || die "the result is ${#text} bytes; the limit is $MAX_BYTES"
    if [[ -z ${options[output]-} ]]; then
        printf '%s\n' "$text"
        return
    fi
    (umask 077 && rm -f -- "${options[output]}" && printf '%s\n' "$text" >"${options[output]}")
}

main "$@"
