#!/usr/bin/env bash
# Renders the example of deploy/kubernetes and looks at what would be applied, and whether it fits the
# schemas of the APIs, which npm has.

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"

readonly STOP_RESERVE_S=12
readonly SCHEMAS=(kubernetes-models@5.1.0 @kubernetes-models/prometheus-operator@6.0.0)

# Before release 1.21 kubectl knew directories as bases alone.
adapt_to_old_kubectl() {
    local minor
    minor=$(kubectl version --client | grep -oE 'v1\.[0-9]+' | head -n 1)
    if ((${minor#v1.} < 21)); then
        sed -i 's/^resources:$/bases:/' "$work/kubernetes/overlays/example/kustomization.yaml"
    fi
}

# $work/rendered gets a line "KIND.path<TAB>value" for each value.
render() {
    local example=$work/kubernetes/overlays/example
    cp -r deploy/kubernetes "$work/kubernetes"
    adapt_to_old_kubectl
    echo mc_service_k57acme_secret >"$example/service_token"
    echo gateway_secret >"$example/openclaw_gateway_token"
    kubectl kustomize "$example" >"$work/example.yaml"
    kubectl kustomize "$work/kubernetes/monitoring" >"$work/monitoring.yaml"
    python3 -c 'import json, sys, yaml
objects = [d for f in sys.argv[2:] for d in yaml.safe_load_all(open(f))]
json.dump(objects, open(sys.argv[1], "w"))
json.dump({d["kind"]: d for d in objects}, sys.stdout)' "$work"/{objects.json,example.yaml,monitoring.yaml} |
        json_flatten >"$work/rendered"
    (($(wc -l <"$work/rendered") > 80))
}

# has PATH VALUE: exactly this is rendered.
has() {
    grep -qxF -- "$1"$'\t'"$2" "$work/rendered" || {
        say "$1 is not $2 but:"
        grep -F -- "$1" "$work/rendered"
        return 1
    }
}

# value_of PATH
value_of() {
    awk -F '\t' -v path="$1" '$1 == path { print $2 }' "$work/rendered"
}

one_runtime() {
    has StatefulSet.spec.replicas 1
    # Else a pod that is not ready would keep out the settings that mend it.
    has StatefulSet.spec.podManagementPolicy Parallel
    fails grep -rE 'kind: (HorizontalPodAutoscaler|Deployment)' deploy/kubernetes
}

hardened() {
    local pod=StatefulSet.spec.template.spec
    local container=$pod.containers.0.securityContext
    has $pod.automountServiceAccountToken false
    has $pod.securityContext.runAsNonRoot true
    has $pod.securityContext.seccompProfile.type RuntimeDefault
    has $container.allowPrivilegeEscalation false
    has $container.readOnlyRootFilesystem true
    has $container.capabilities.drop.0 ALL
    has ServiceAccount.automountServiceAccountToken false
    fails grep -E 'hostPath|hostNetwork|hostPID' "$work/rendered"
}

probed() {
    local container=StatefulSet.spec.template.spec.containers.0
    has $container.startupProbe.httpGet.path /livez
    has $container.livenessProbe.httpGet.path /livez
    has $container.readinessProbe.httpGet.path /readyz
    has PodMonitor.spec.podMetricsEndpoints.0.path /metrics
    [[ $(value_of $container.ports.0.name) == $(value_of $container.livenessProbe.httpGet.port) ]]
    [[ $(value_of $container.ports.0.name) == $(value_of PodMonitor.spec.podMetricsEndpoints.0.port) ]]
    [[ $(value_of $container.ports.0.containerPort) == $(value_of $container.env.1.value) ]]
}

# The rules of deploy/prometheus name a job; here its name is a label's value.
is_the_job_of_the_alerts() {
    local job
    job=$(value_of "StatefulSet.spec.template.metadata.labels.$(value_of PodMonitor.spec.jobLabel)")
    grep -ohE 'job="[^"]*"' deploy/prometheus/*.yml | sort -u >"$work/jobs"
    equal "job=\"$job\"" "$(cat "$work/jobs")"
}

# Everything that selects the pod selects that of this account alone, but for the monitor of all.
selects_the_account() {
    local path name=app.kubernetes.io/name instance=app.kubernetes.io/instance
    for path in StatefulSet.spec.template.metadata.labels StatefulSet.spec.selector.matchLabels \
        Service.spec.selector PodDisruptionBudget.spec.selector.matchLabels \
        NetworkPolicy.spec.podSelector.matchLabels; do
        has "$path.$name" mission-control-runtime
        has "$path.$instance" acme
    done
    has "PodMonitor.spec.selector.matchLabels.$name" mission-control-runtime
    fails grep -F "PodMonitor.spec.selector.matchLabels.$instance" "$work/rendered"
    has "NetworkPolicy.spec.egress.2.to.0.podSelector.matchLabels.$name" openclaw-gateway
    has "NetworkPolicy.spec.egress.1.to.0.ipBlock.except.0" 169.254.0.0/16
}

gets_settings_and_tokens() {
    local pod=StatefulSet.spec.template.spec
    [[ $(value_of $pod.containers.0.envFrom.0.configMapRef.name) == $(value_of ConfigMap.metadata.name) ]]
    [[ $(value_of $pod.volumes.1.secret.secretName) == $(value_of Secret.metadata.name) ]]
    [[ $(value_of Secret.data.service_token | base64 -d) == mc_service_k57acme_secret ]]
    has $pod.volumes.1.secret.defaultMode 256
    fails grep -F _secret <(grep -v '^Secret\.' "$work/rendered")
}

# Each variable that is set is a setting, and no token is one of them.
sets_what_is_read() {
    local name
    for name in $(grep -oE '^StatefulSet\..*\.env\.[0-9]+\.name	[A-Z_]+' "$work/rendered" | cut -f 2) \
        $(sed -n 's/^ConfigMap\.data\.\([A-Z_]*\)	.*/\1/p' "$work/rendered"); do
        grep -qE "^(# )?${name%_FILE}=" .env.example || { say "$name is no setting" && return 1; }
        [[ $name != *_TOKEN ]]
    done
}

enough_time_to_stop() {
    local grace_ms
    grace_ms=$(grep -oE '^# SHUTDOWN_GRACE_MS=[0-9]+' .env.example | cut -d= -f2)
    (($(value_of StatefulSet.spec.template.spec.terminationGracePeriodSeconds) * 1000 >
        grace_ms + STOP_RESERVE_S * 1000))
}

fits_schemas() {
    node test/deploy/lib/kubernetes-schema.mjs "$BUILD/kubernetes" <"$work/objects.json"
}

# A checker that finds nothing at all would not be noticed.
schemas_find_mistakes() {
    sed -i 's/"containerPort"/"containerport"/' "$work/objects.json"
    fails fits_schemas >"$work/misfit"
    grep "StatefulSet: .* 'containerPort'\|StatefulSet: .* containerPort" "$work/misfit"
}

check_schemas() {
    modules "the schemas of Kubernetes" "$BUILD/kubernetes" "${SCHEMAS[@]}" || return 0
    check "the objects fit the schemas of their APIs" fits_schemas
    check "a mistake would be found" schemas_find_mistakes
}

main() {
    cd "$ROOT"
    if ! have "rendering for Kubernetes" kubectl python3; then finish && return; fi
    if ! python3 -c 'import yaml' 2>/dev/null; then
        skip "rendering for Kubernetes" "Python has no yaml module here"
        finish && return
    fi
    check "the example is rendered" render
    check "one runtime, which nothing scales" one_runtime
    check "it may do as little as possible" hardened
    check "it is probed and scraped where it listens" probed
    check "it is scraped as the job that the alerts are about" is_the_job_of_the_alerts
    check "an account's objects select its own pod" selects_the_account
    check "it gets its settings and tokens" gets_settings_and_tokens
    check "it is given settings that it reads" sets_what_is_read
    check "it gets time to stop" enough_time_to_stop
    check_schemas
    finish
}

main "$@"
