#!/usr/bin/env bash
# Every alert has tests, a section in the manual and a place in the PrometheusRule for Kubernetes.
# promtool runs the tests of the rules, and of the same rules as Kubernetes gets them.

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"

readonly RULES=deploy/prometheus
readonly KUBERNETES_RULES=deploy/kubernetes/monitoring/prometheus-rule.yaml

alerts() {
    sed -n 's/^ *- alert: //p' "$RULES/alerts.yml"
}

each_alert_is_tested() {
    local alert
    for alert in $(alerts); do
        grep -qx "  - name: $alert fires" "$RULES/rules-test.yml"
        grep -qx "  - name: $alert stays silent" "$RULES/rules-test.yml"
    done
    (($(alerts | wc -l) >= 28))
}

# The test named START has all alerts, each at three moments, and expects none.
no_alert_rings_after_a_start() {
    local start alert
    start=$(sed -n '/- name: a start after an outage/,/- name: instance:/p' "$RULES/rules-test.yml")
    for alert in $(alerts); do
        expect_equal 3 "$(grep -c "alertname: $alert$" <<<"$start")" "$alert after a start"
    done
    fails grep -q 'exp_labels' <<<"$start"
}

each_alert_is_explained() {
    local alert
    for alert in $(alerts); do
        grep -qx "### $alert" docs/operations.md || { say "docs/operations.md lacks $alert" && return 1; }
        grep -q "runbook: docs/operations.md#${alert,,}$" "$RULES/alerts.yml"
    done
}

rules_pass() {
    (cd "$1" && promtool check rules recording-rules.yml alerts.yml && promtool test rules rules-test.yml)
}

# Rules whose start condition or threshold is lost must not go unnoticed.
broken_rules_are_found() {
    cp "$RULES"/*.yml "$work"
    sed -i 's/process_start_time_seconds > 600/process_start_time_seconds > 60/' "$work/alerts.yml"
    fails rules_pass "$work"
}

kubernetes_rules_pass() {
    mkdir "$work/kubernetes"
    python3 -c 'import sys, yaml
yaml.safe_dump(yaml.safe_load(open(sys.argv[1]))["spec"], open(sys.argv[2], "w"))' \
        "$KUBERNETES_RULES" "$work/kubernetes/alerts.yml"
    echo 'groups: []' >"$work/kubernetes/recording-rules.yml"
    cp "$RULES/rules-test.yml" "$work/kubernetes"
    rules_pass "$work/kubernetes"
}

main() {
    cd "$ROOT"
    check "each alert has a test that fires and one that is silent" each_alert_is_tested
    check "no alert rings in the ten minutes after a start" no_alert_rings_after_a_start
    check "each alert has a section in the manual" each_alert_is_explained
    check "the PrometheusRule is up to date" scripts/render-prometheus-rule.sh --check
    if has_tools "the rules" promtool; then
        check "promtool passes the rules" rules_pass "$RULES"
        check "promtool finds a lost start condition" broken_rules_are_found
    fi
    if has_tools "the rules of Kubernetes" promtool python3; then
        check "promtool passes the rules of Kubernetes" kubernetes_rules_pass
    fi
    finish
}

main "$@"
