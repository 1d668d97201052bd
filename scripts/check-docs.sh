#!/usr/bin/env bash
# Checks the documents, and what comments say about files, against the tree.
#
# Usage: scripts/check-docs.sh [-h]
#
# - Every relative link in a *.md file leads to a file, and to a heading if it names one; every
#   document is linked to from another one.
# - Every script is executable and named in a document, as is every target of the Makefile, every
#   directory of the sources and, in CHANGELOG.md, the version.
# - Files that documents and comments name exist, as do the functions in docs/architecture.md and
#   HACKING.md, and the sections that comments refer to ("docs/protocol.md, Gateway answers").
# - In a row of a table of these two that names files, all of them exist, and its functions are
#   defined in one of them.
# - Nothing is left marked as yet to be done; functions named _locked assert the lock.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

problems=0

problem() {
    warn "$*"
    problems=$((problems + 1))
}

documents() {
    project_files -name '*.md'
}

# The targets of the links of a document, code blocks left out, a line each.
links() {
    awk '/^ *```/ { code = !code } !code' "$1" | grep -oE '\]\([^) ]+\)' | sed 's/^](//; s/)$//'
}

# The anchors of a document's headings.
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
        problem "$document: broken link $link"
    elif [[ -n $anchor && $file == *.md ]] && ! anchors "$file" | grep -qxF -- "$anchor"; then
        problem "$document: $link: no such heading"
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

# Every document except the README must be linked from another, or readers would not find it.
check_reachable() {
    local document linking
    while read -r document; do
        [[ $document == README.md ]] && continue
        linking=$(documents | xargs grep -lE "\]\(([^)# ]*/)?${document##*/}[)#]" |
            grep -vxF -- "$document") || true
        [[ -n $linking ]] ||
            problem "$document: no other document links to it"
    done < <(documents)
}

# named WORD FILE...: whether WORD is in one of them as a word of its own.
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
        [[ -x $script ]] || problem "$script: is not executable: chmod +x $script"
    done
}

# The words after .PHONY, with its continuation lines.
targets() {
    sed -n '/^\.PHONY:/,/[^\\]$/ p' Makefile | sed 's/^\.PHONY://; s/\\$//' | tr -s ' \t' '\n' | grep .
}

check_targets() {
    local target
    for target in $(targets); do
        named "make $target" README.md HACKING.md ||
            problem "neither README.md nor HACKING.md names make $target"
    done
}

check_dirs() {
    local directory
    for directory in src/*/ sandbox/; do
        named "${directory%/}" docs/architecture.md ||
            problem "docs/architecture.md: does not name ${directory%/}"
    done
}

check_version() {
    local version
    version=$(cat VERSION)
    grep -qF "## [$version]" CHANGELOG.md || problem "CHANGELOG.md: has no section [$version]"
}

# The text of each source file with its comments joined into one line: "FILE<TAB>TEXT".
sources_with_comments() {
    project_files -name '*.[ch]' -o -name '*.pml' -o -name '*.sh' -o -name '*.py' -o -name '*.mjs' |
        while read -r source; do
            printf '%s\t' "$source"
            sed -E 's/^ *(\*|#|\/\/)? ?//' "$source" | tr '\n' ' '
            echo
        done
}

# FILE<TAB>NAME for each DIRECTORY/NAME.c or .h that a source or a document names. System headers and
# the stand-in "folder/name.h" are left out.
named_files() {
    project_files -name '*.[ch]' -o -name '*.pml' -o -name '*.md' -o -path ./Makefile |
        xargs grep -HoE '<?[A-Za-z0-9_./-]*[a-z0-9_]+/[a-z0-9_]+\.[ch]\b' 2>/dev/null |
        grep -vE ':(<|sys/|folder/)' | sed 's/:/\t/' | sort -u
}

exists_somewhere() {
    local name=$1 directory
    for directory in . src include test "$2"; do
        [[ -e $directory/$name ]] && return
    done
    return 1
}

check_named_files() {
    local source name
    while IFS=$'\t' read -r source name; do
        exists_somewhere "$name" "$(dirname "$source")" || problem "$source: there is no $name"
    done < <(named_files)
}

# The words of code in a document, such as functions; x_create stands for any.
code_words() {
    # shellcheck disable=SC2016 # backquotes are what is looked for
    awk '/^ *```/ { code = !code } !code' "$1" | grep -oE '`[a-z][a-z0-9]*(_[a-z0-9]+)+`' |
        tr -d '`' | grep -v '^x_' | sort -u
}

check_code_words() {
    local document word
    for document in docs/architecture.md HACKING.md; do
        while read -r word; do
            grep -rqwF -- "$word" src include test scripts Makefile ||
                [[ -n $(project_files -name "$word.*") ]] ||
                problem "$document: \`$word\` is not in the sources"
        done < <(code_words "$document")
    done
}

# The paths of a text, such as `delivery/poller.c`.
quoted_paths() {
    # shellcheck disable=SC2016 # backquotes are what is looked for
    grep -oE '`[a-z][A-Za-z0-9_/-]*/[A-Za-z0-9_-]+\.[a-z]+`' | tr -d '`'
}

# Where a path is that may lack src or include; fails if it is nowhere.
full_path() {
    local directory
    for directory in . src include; do
        [[ -e $directory/$1 ]] && echo "$directory/$1" && return
    done
    return 1
}

check_row() {
    local document=$1 row=$2 path file name files=()
    while read -r path; do
        if file=$(full_path "$path"); then
            files+=("$file")
        else
            problem "$document: there is no $path"
        fi
    done < <(quoted_paths <<<"$row")
    ((${#files[@]} > 0)) || return 0
    while read -r name; do
        grep -qE "^[a-z].*\b$name\(" "${files[@]}" ||
            problem "$document: no function \`$name\` in ${files[*]}"
    done < <(code_words <(echo "$row"))
}

check_rows() {
    local document row
    for document in docs/architecture.md HACKING.md; do
        while read -r row; do
            check_row "$document" "$row"
        done < <(grep '^| .*/' "$document")
    done
}

# FILE<TAB>DOCUMENT<TAB>SECTION for each reference to a section.
section_references() {
    sources_with_comments |
        awk -F '\t' '{
            text = $2
            while (match(text, /docs\/[a-z-]+\.md, "?[A-Z][A-Za-z ]*[A-Za-z]/)) {
                reference = substr(text, RSTART, RLENGTH)
                split(reference, parts, /, "?/)
                print $1 "\t" parts[1] "\t" parts[2]
                text = substr(text, RSTART + RLENGTH)
            }
        }'
}

# A reference may go on with other words, so a heading has to be its beginning.
check_sections() {
    local source document section heading found
    while IFS=$'\t' read -r source document section; do
        found=
        while read -r heading; do
            if [[ $section == "$heading"* ]]; then found=1; fi
        done < <(sed -n 's/^##* //p' "$document" 2>/dev/null)
        [[ -n $found ]] || problem "$source: $document has no section \"$section\""
    done < <(section_references)
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

# The functions that are named _locked and do not assert that the lock is held, one per line.
locked_without_assertion() {
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
        problem "$function does not assert its lock, as every _locked function must"
    done < <(locked_without_assertion)
}

main() {
    reject_arguments "$@"
    cd "$ROOT"
    check_links
    check_reachable
    check_scripts
    check_targets
    check_dirs
    check_version
    check_named_files
    check_code_words
    check_rows
    check_sections
    check_leftovers
    check_locks
    ((problems == 0))
}

main "$@"
