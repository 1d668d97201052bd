#!/usr/bin/env bash
# Wraps the recording rules and alerts of deploy/prometheus into a PrometheusRule for the Prometheus
# operator, deploy/kubernetes/monitoring/prometheus-rule.yaml.
#
# Usage: scripts/render-prometheus-rule.sh [-h] [--check]
#
# With --check it writes nothing, and fails if the file is not what it would write.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

readonly TARGET=deploy/kubernetes/monitoring/prometheus-rule.yaml

# The groups of each file, two levels deeper; the sources have nothing but comments before them.
render() {
    local file
    cat <<'HEAD'
# Written by scripts/render-prometheus-rule.sh from deploy/prometheus; do not edit.
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: mission-control-runtime
  labels:
    app.kubernetes.io/name: mission-control-runtime
spec:
  groups:
HEAD
    for file in deploy/prometheus/{recording-rules,alerts}.yml; do
        sed '1,/^groups:$/d; s/^\(.\)/  \1/' "$file"
    done
}

main() {
    if [[ ${1-} == -h || ${1-} == --help ]]; then usage && return; fi
    cd "$ROOT"
    case ${1-} in
    "") render >"$TARGET" ;;
    --check) render | diff -u "$TARGET" - >&2 || die "$TARGET is outdated: run scripts/render-prometheus-rule.sh" ;;
    *) die_usage "$1" ;;
    esac
}

main "$@"
