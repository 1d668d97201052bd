#!/usr/bin/env bash
# Checks that the includes in src/ and include/ follow the permitted edges between directories.
#
# Usage: scripts/check-layers.sh [-h] [DIRECTORY]
#
# Every #include "NAME/..." in src/DIR or include/DIR must name DIR itself or a directory that DIR may
# depend on according to the list below; files directly in src/ may include anything. Headers in
# src/DIR are private to DIR. DIRECTORY is the root of the tree to check, by default the one that this
# script is in. Prints every violation and exits with 1 if there are any.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# "DIR: the directories it may include". Adding a dependency means adding it here, deliberately.
readonly EDGES=(
    "base:"
    "telemetry: base"
    "config: base"
    "http: base"
    "backend: base telemetry config http"
    "gateway: base config http"
    "spool: base"
    "prompt: base backend"
    "agent_tools: base telemetry config backend prompt"
    "delivery: base telemetry config http backend gateway spool prompt agent_tools"
    "agents: base telemetry config backend gateway delivery"
    "report: base telemetry config backend gateway delivery"
    "serve: base telemetry config http backend gateway delivery agents agent_tools"
    "cli: base config http backend gateway spool delivery"
)

# Prints FILE<TAB>LINE<TAB>HEADER for every quoted #include below src/ and include/.
list_includes() {
    find src include -name '*.[ch]' -exec grep -HnoE '^ *# *include "[^"]+"' {} + |
        sed -E 's/^([^:]+):([0-9]+): *# *include "([^"]+)"$/\1\t\2\t\3/'
}

check_includes() {
    list_includes | sort | awk -F '\t' -v edges="$(printf '%s\n' "${EDGES[@]}")" '
        function fail(message) { printf "%s:%s: %s\n", $1, $2, message; failed = 1 }
        function exists(path,    line, status) {
            status = (getline line < path)
            close(path)
            return status >= 0
        }
        BEGIN {
            count = split(edges, rows, "\n")
            for (i = 1; i <= count; i++) {
                split(rows[i], row, ":")
                known[row[1]] = 1
                words = split(row[2], names, " ")
                for (j = 1; j <= words; j++) permitted[row[1], names[j]] = 1
            }
        }
        {
            parts = split($1, path, "/")
            from = parts > 2 ? path[2] : ""
            to = $3 ~ "/" ? substr($3, 1, index($3, "/") - 1) : ""
            if (from != "" && !(from in known))
                fail("directory " from " is not in the list of scripts/check-layers.sh")
            else if (to == "" && from != "")
                fail("\"" $3 "\": write \"DIRECTORY/" $3 "\"; headers directly in src/ are private to it")
            else if (from != "" && from != to && !((from, to) in permitted))
                fail(from " may not include \"" $3 "\"")
            else if (to != "" && from != to && !exists("include/" $3))
                fail("\"" $3 "\" is private to src/" to)
        }
        END { exit failed }'
}

main() {
    if [[ ${1-} == -* ]]; then reject_arguments "$@"; fi
    cd "${1:-$ROOT}"
    check_includes
}

main "$@"
