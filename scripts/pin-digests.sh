#!/usr/bin/env bash
# Resolves what others could change under its name, and pins it by digest: the actions of the workflows,
# and the base images of the Dockerfiles. Nothing is guessed: what cannot be resolved stays as it is, and
# is an error.
#
# Usage: scripts/pin-digests.sh [-h] actions [FILE...]
#        scripts/pin-digests.sh [-h] check [FILE...]
#        scripts/pin-digests.sh [-h] base DOCKERFILE
#
# actions rewrites "uses: OWNER/REPO@v1" to "uses: OWNER/REPO@COMMIT  # v1" in the workflows, or in FILEs,
# and moves those that are pinned to the commit that their version has now. check only reports what it
# would change. Both need git and access to github.com.
#
# base prints the ARG BASE of a Dockerfile with the digest that the registry has for it now, for
# docker build --build-arg BASE=...; it needs docker with buildx, and access to the registry.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

readonly LIMIT_S=30

# commit_of OWNER/REPO[/PATH] VERSION: prints the commit that the tag or branch has at GitHub.
commit_of() {
    local repository url refs commit
    repository=$(cut -d / -f 1,2 <<<"$1")
    url=https://github.com/$repository
    refs=$(GIT_TERMINAL_PROMPT=0 timeout "$LIMIT_S" git ls-remote "$url" "refs/tags/$2" "refs/tags/$2^{}" "refs/heads/$2") ||
        die "cannot reach $url; nothing was changed"
    # The commit of an annotated tag is what "^{}" names; a tag comes before a branch of that name.
    commit=$(awk '$2 ~ /\^\{\}$/ { best = $1; exit } !best { best = $1 } END { print best }' <<<"$refs")
    [[ $commit =~ ^[0-9a-f]{40}$ ]] || die "$url has no tag or branch $2"
    printf '%s\n' "$commit"
}

# "uses: ACTION@VERSION # NAME": 1 before, 2 action, 3 version or commit, 5 the name of a commit's version
readonly USES='^(.*uses: +)([A-Za-z0-9_.-]+/[A-Za-z0-9_./-]+)@([A-Za-z0-9_./-]+)( +# *([A-Za-z0-9_.-]+))? *$'

# pinned FILE: prints the file with every action of others pinned.
pinned() {
    local line before action version commit
    while IFS= read -r line || [[ -n $line ]]; do
        if [[ $line =~ $USES ]]; then
            before=${BASH_REMATCH[1]} action=${BASH_REMATCH[2]} version=${BASH_REMATCH[5]:-${BASH_REMATCH[3]}}
            commit=$(commit_of "$action" "$version") || exit
            line="$before$action@$commit  # $version"
        fi
        printf '%s\n' "$line"
    done <"$1"
}

# pin_actions check|actions FILE...
pin_actions() {
    local mode=$1 file new changed=0
    shift
    for file in "$@"; do
        new=$(pinned "$file") || exit
        diff -u --label "$file" --label "$file, resolved" "$file" - <<<"$new" && continue
        changed=1
        [[ $mode == check ]] || printf '%s\n' "$new" >"$file"
    done
    [[ $mode == actions ]] || ((changed == 0)) || die "versions have moved, or are not pinned: scripts/pin-digests.sh actions"
}

print_base() {
    local image digest
    image=$(sed -n 's/^ARG BASE=//p' "$1")
    [[ -n $image ]] || die "$1: has no ARG BASE"
    digest=$(timeout "$LIMIT_S" docker buildx imagetools inspect --format '{{json .Manifest}}' "$image" | json_get digest) ||
        die "cannot resolve $image: its registry does not answer"
    [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || die "cannot resolve $image: \"$digest\" is not a digest"
    printf '%s@%s\n' "$image" "$digest"
}

main() {
    local mode=${1-}
    cd "$ROOT"
    case $mode in
    -h | --help) usage ;;
    actions | check)
        shift
        if (($# == 0)); then set -- .github/workflows/*.yml; fi
        pin_actions "$mode" "$@"
        ;;
    base) (($# == 2)) || die "base needs a Dockerfile" && print_base "$2" ;;
    *) die_usage "$mode" ;;
    esac
}

main "$@"
