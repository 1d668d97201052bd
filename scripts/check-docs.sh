#!/usr/bin/env bash
# Checks what is written about the project against the project.
#
# Usage: scripts/check-docs.sh [-h]
#
# Every relative link in a *.md file leads to a file, and to a heading if it names one; every script
# can be run and is named in a document, as is every target of the Makefile and every directory of the
# sources; nothing is left marked as yet to be done; functions named _locked assert the lock.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

problems=0

problem() {
    warn "$*"
    problems=$((problems + 1))
}

documents() {
    find . \( -path ./build -o -path ./.git \) -prune -o -name '*.md' -print | sort
}

# The targets of the links of a document, code blocks left out, a line each.
links() {
    awk '/^ *```/ { code = !code } !code' "$1" | grep -oE '\]\([^) ]+\)' | sed 's/^](//; s/)$//'
}

# The names by which a document's headings are linked to.
anchors() {
    awk '/^ *```/ { code = !code } !code' "$1" | sed -n 's/^##* //p' |
        tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}

check_link() {
    local document=$1 link=$2 file=${2%%#*} anchor=
    [[ $link == *'#'* ]] && anchor=${link#*#}
    case $link in
    *://* | mailto:*) return 0 ;;
    "#"*) file=$document ;;
    *) file=$(dirname "$document")/$file ;;
    esac
    if [[ ! -e $file ]]; then
        problem "$document: the link to $link leads nowhere"
    elif [[ -n $anchor && $file == *.md ]] && ! anchors "$file" | grep -qxF -- "$anchor"; then
        problem "$document: $link names a heading that is not there"
    fi
}

check_links() {
    local document link
    while read -r document; do
        while read -r link; do
            check_link "$document" "$link"
        done < <(links "$document")
    done < <(documents)
}

# named WORD FILE...: whether WORD stands in one of them as a word of its own.
named() {
    local word=$1
    shift
    grep -qE -- "(^|[^[:alnum:]_-])${word//./\\.}([^[:alnum:]_-]|$)" "$@"
}

check_scripts() {
    local script all=()
    mapfile -t all < <(documents)
    for script in scripts/*.sh .ci/run; do
        named "$(basename "$script")" "${all[@]}" || problem "$script: no document names it"
        [[ $script == scripts/*lib.sh ]] && continue
        [[ -x $script ]] || problem "$script: cannot be run: chmod +x $script"
    done
}

# The words behind .PHONY, with the lines that it goes on in.
targets() {
    sed -n '/^\.PHONY:/,/[^\\]$/ p' Makefile | sed 's/^\.PHONY://; s/\\$//' | tr -s ' \t' '\n' | grep .
}

check_targets() {
    local target
    for target in $(targets); do
        named "make $target" README.md || problem "README.md: does not name make $target"
    done
}

check_dirs() {
    local directory
    for directory in src/*/ sandbox/; do
        named "${directory%/}" docs/architecture.md ||
            problem "docs/architecture.md: does not name ${directory%/}"
    done
}

check_leftovers() {
    local words
    # Written apart, or this line would be found.
    words="TO""DO|FIX""ME|X""XX"
    if grep -rnwE "$words" --include='*.[ch]' --include='*.md' --include='*.sh' \
        --exclude-dir=build --exclude-dir=.git . Makefile; then
        problem "the places above are marked as yet to be done: do them, or open an issue"
    fi
}

# The functions that are named _locked and do not assert that the lock is held, a line each.
careless() {
    awk '
        /^[a-z].*_locked\(/ { name = FILENAME ": " $0; asserts = 0 }
        name && /;$/ && !inside { name = "" }
        /^{/ { inside = 1 }
        name && /mutex_assert_held/ { asserts = 1 }
        /^}/ {
            if (name && !asserts) print name
            name = ""; inside = 0
        }' src/*/*.c
}

check_locks() {
    local function
    while read -r function; do
        problem "$function does not assert its lock, as docs/architecture.md says of all _locked"
    done < <(careless)
}

main() {
    reject_arguments "$@"
    cd "$ROOT"
    check_links
    check_scripts
    check_targets
    check_dirs
    check_leftovers
    check_locks
    ((problems == 0))
}

main "$@"
