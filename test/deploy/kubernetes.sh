#!/usr/bin/env bash
# Renders the examples of deploy/kubernetes, checks the objects, and validates them against the API schemas
# from npm. Says with which kubectl.

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"

readonly STOP_RESERVE_S=12
readonly SCHEMAS=(kubernetes-models@5.1.0 @kubernetes-models/prometheus-operator@6.0.0)

readonly MIN_MINOR=22

# Whether kubectl can add labels to selectors (1.22); says its version either way.
kubectl_is_new_enough() {
    local version minor
    version=$(kubectl version --client 2>/dev/null | grep -oE 'v1\.[0-9]+[^ ",]*' | head -n 1)
    say "kubectl ${version:-of an unknown version}"
    minor=${version#v1.}
    ((${minor%%[^0-9]*} >= MIN_MINOR)) && return
    skip "rendering for Kubernetes" "kubectl is older than 1.$MIN_MINOR"
    return 1
}

# Writes a line "KIND.path<TAB>value" for each value to $work/rendered.
render() {
    local example=$work/kubernetes/overlays/example
    local gateway=$work/kubernetes/overlays/example-gateway
    cp -r deploy/kubernetes "$work/kubernetes"
    echo gateway_secret >"$gateway/openclaw_gateway_token"
    echo OPENAI_API_KEY=sk-key >"$gateway/provider_keys.env"
    echo mc_service_k57acme_secret >"$example/service_token"
    echo gateway_secret >"$example/openclaw_gateway_token"
    kubectl kustomize "$example" >"$work/example.yaml"
    kubectl kustomize "$work/kubernetes/monitoring" >"$work/monitoring.yaml"
    kubectl kustomize "$gateway" >"$work/gateway.yaml"
    # Objects of the gateway are named Gateway.KIND; of its two Secrets the last one counts.
    python3 -c 'import json, sys, yaml
files = {f: list(yaml.safe_load_all(open(f))) for f in sys.argv[2:]}
json.dump([d for objects in files.values() for d in objects], open(sys.argv[1], "w"))
prefix = lambda f: "Gateway." if f.endswith("gateway.yaml") else ""
json.dump({prefix(f) + d["kind"]: d for f, objects in files.items() for d in objects}, sys.stdout)' \
        "$work"/{objects.json,example.yaml,monitoring.yaml,gateway.yaml} | json_flatten >"$work/rendered"
    (($(wc -l <"$work/rendered") > 80))
}

# expect_value PATH VALUE
expect_value() {
    grep -qxF -- "$1"$'\t'"$2" "$work/rendered" || {
        say "expected $1 to be $2, got:"
        grep -F -- "$1" "$work/rendered"
        return 1
    }
}

# value_of PATH: prints the rendered value.
value_of() {
    awk -F '\t' -v path="$1" '$1 == path { print $2 }' "$work/rendered"
}

runs_one_replica() {
    expect_value StatefulSet.spec.replicas 1
    # With OrderedReady a pod that is not ready would block the update that fixes it.
    expect_value StatefulSet.spec.podManagementPolicy Parallel
    fails grep -rE 'kind: (HorizontalPodAutoscaler|Deployment)' deploy/kubernetes
}

is_hardened() {
    local pod=StatefulSet.spec.template.spec
    local container=$pod.containers.0.securityContext
    expect_value $pod.automountServiceAccountToken false
    expect_value $pod.securityContext.runAsNonRoot true
    expect_value $pod.securityContext.seccompProfile.type RuntimeDefault
    expect_value $container.allowPrivilegeEscalation false
    expect_value $container.readOnlyRootFilesystem true
    expect_value $container.capabilities.drop.0 ALL
    expect_value ServiceAccount.automountServiceAccountToken false
    fails grep -E 'hostPath|hostNetwork|hostPID' "$work/rendered"
}

is_probed() {
    local container=StatefulSet.spec.template.spec.containers.0
    expect_value $container.startupProbe.httpGet.path /livez
    expect_value $container.livenessProbe.httpGet.path /livez
    expect_value $container.readinessProbe.httpGet.path /readyz
    expect_value PodMonitor.spec.podMetricsEndpoints.0.path /metrics
    [[ $(value_of $container.ports.0.name) == $(value_of $container.livenessProbe.httpGet.port) ]]
    [[ $(value_of $container.ports.0.name) == $(value_of PodMonitor.spec.podMetricsEndpoints.0.port) ]]
    [[ $(value_of $container.ports.0.containerPort) == $(value_of $container.env.1.value) ]]
}

# The rules in deploy/prometheus select a job, which is named after a label here.
job_matches_the_alerts() {
    local job
    job=$(value_of "StatefulSet.spec.template.metadata.labels.$(value_of PodMonitor.spec.jobLabel)")
    grep -ohE 'job="[^"]*"' deploy/prometheus/*.yml | sort -u >"$work/jobs"
    expect_equal "job=\"$job\"" "$(cat "$work/jobs")"
}

# Every selector matches this account's pod only, except that of the PodMonitor for all accounts.
selectors_match_the_account() {
    local path name=app.kubernetes.io/name instance=app.kubernetes.io/instance
    for path in StatefulSet.spec.template.metadata.labels StatefulSet.spec.selector.matchLabels \
        Service.spec.selector PodDisruptionBudget.spec.selector.matchLabels \
        NetworkPolicy.spec.podSelector.matchLabels; do
        expect_value "$path.$name" mission-control-runtime
        expect_value "$path.$instance" acme
    done
    expect_value "PodMonitor.spec.selector.matchLabels.$name" mission-control-runtime
    fails grep -F "PodMonitor.spec.selector.matchLabels.$instance" "$work/rendered"
    expect_value "NetworkPolicy.spec.egress.2.to.0.podSelector.matchLabels.$name" openclaw-gateway
    expect_value "NetworkPolicy.spec.egress.1.to.0.ipBlock.except.0" 169.254.0.0/16
}

gets_settings_and_tokens() {
    local pod=StatefulSet.spec.template.spec
    [[ $(value_of $pod.containers.0.envFrom.0.configMapRef.name) == $(value_of ConfigMap.metadata.name) ]]
    [[ $(value_of $pod.volumes.1.secret.secretName) == $(value_of Secret.metadata.name) ]]
    [[ $(value_of Secret.data.service_token | base64 -d) == mc_service_k57acme_secret ]]
    expect_value $pod.volumes.1.secret.defaultMode 256
    fails grep -F _secret <(grep -v '^Secret\.' "$work/rendered")
}

# Every variable that is set is a known setting, and none is a token.
sets_known_settings_only() {
    local name
    for name in $(grep -oE '^StatefulSet\..*\.env\.[0-9]+\.name	[A-Z_]+' "$work/rendered" | cut -f 2) \
        $(sed -n 's/^ConfigMap\.data\.\([A-Z_]*\)	.*/\1/p' "$work/rendered"); do
        grep -qE "^(# )?${name%_FILE}=" .env.example || { say "$name is not a setting" && return 1; }
        [[ $name != *_TOKEN ]]
    done
}

# expect_port PATH PORT: whether one of the ports of a rule is PORT.
expect_port() {
    grep -qE -- "^$1\.ports\.[0-9]+\.port	$2\$" "$work/rendered"
}

# DNS by pods, by the node's cache and on OpenShift; the backend over IPv4 and IPv6.
network_is_reachable() {
    local dns=NetworkPolicy.spec.egress.0 backend=NetworkPolicy.spec.egress.1 protocol
    expect_value $dns.to.0.namespaceSelector.matchLabels.kubernetes.io/metadata.name kube-system
    expect_value $dns.to.1.ipBlock.cidr 169.254.20.10/32
    expect_value $dns.to.2.namespaceSelector.matchLabels.kubernetes.io/metadata.name openshift-dns
    expect_port $dns 53
    expect_port $dns 5353
    for protocol in UDP TCP; do
        expect_equal 2 "$(grep -cE "^$dns\.ports\..*	$protocol$" "$work/rendered")" "ports over $protocol"
    done
    expect_value $backend.to.0.ipBlock.cidr 0.0.0.0/0
    expect_value $backend.to.1.ipBlock.cidr ::/0
    expect_value $backend.to.1.ipBlock.except.0 fe80::/10
}

# Runtime and gateway find and admit each other, and nobody else does.
gateway_fits_the_runtime() {
    local pod=Gateway.StatefulSet.spec.template.spec name=app.kubernetes.io/name instance=app.kubernetes.io/instance
    local rule path
    expect_value ConfigMap.data.OPENCLAW_GATEWAY_URL "http://$(value_of Gateway.Service.metadata.name):18789"
    expect_value ConfigMap.data.TASK_STATUS_BASE_URL "http://$(value_of Service.metadata.name):3001"
    fails grep -F TASK_STATUS_BASE_URL <(grep '^StatefulSet' "$work/rendered")
    for path in StatefulSet.spec.template.metadata.labels Service.spec.selector NetworkPolicy.spec.podSelector.matchLabels; do
        expect_value "Gateway.$path.$name" openclaw-gateway
        expect_value "Gateway.$path.$instance" acme
    done
    for rule in NetworkPolicy.spec.ingress.1:openclaw-gateway Gateway.NetworkPolicy.spec.ingress.0:mission-control-runtime; do
        expect_value "${rule%%:*}.from.0.podSelector.matchLabels.$name" "${rule#*:}"
        expect_value "${rule%%:*}.from.0.podSelector.matchLabels.$instance" acme
    done
    expect_value Gateway.Service.spec.ports.0.port 18789
    expect_value $pod.containers.0.ports.0.containerPort 18789
}

# A Service named openclaw-gateway would set OPENCLAW_GATEWAY_PORT to its address.
service_links_are_off() {
    expect_value StatefulSet.spec.template.spec.enableServiceLinks false
    expect_value Gateway.StatefulSet.spec.template.spec.enableServiceLinks false
    expect_equal 18789 "$(OPENCLAW_GATEWAY_PORT=tcp://10.96.0.7:18789 OPENCLAW_GATEWAY_SERVICE_HOST=10.96.0.7 \
        node openclaw/merge-config.mjs --print-port)" "port in spite of a service link"
}

gateway_is_hardened() {
    local pod=Gateway.StatefulSet.spec.template.spec
    expect_value Gateway.StatefulSet.spec.replicas 1
    expect_value $pod.automountServiceAccountToken false
    expect_value $pod.securityContext.runAsNonRoot true
    expect_value $pod.containers.0.securityContext.allowPrivilegeEscalation false
    expect_value $pod.containers.0.securityContext.capabilities.drop.0 ALL
    expect_value $pod.containers.0.env.0.name OPENCLAW_GATEWAY_TOKEN_FILE
    fails grep -E 'SERVICE_TOKEN|sk-key|gateway_secret' <(grep '^Gateway.StatefulSet' "$work/rendered")
}

no_field_is_deprecated() {
    fails grep -rnE '^(commonLabels|bases|patchesStrategicMerge):' deploy/kubernetes
    fails grep -i deprecated <(kubectl kustomize "$work/kubernetes/overlays/example" 2>&1 >/dev/null)
}

grace_exceeds_shutdown() {
    local grace_ms
    grace_ms=$(grep -oE '^# SHUTDOWN_GRACE_MS=[0-9]+' .env.example | cut -d= -f2)
    (($(value_of StatefulSet.spec.template.spec.terminationGracePeriodSeconds) * 1000 >
        grace_ms + STOP_RESERVE_S * 1000))
}

objects_are_valid() {
    node test/deploy/lib/kubernetes-schema.mjs "$BUILD/kubernetes" <"$work/objects.json"
}

# A validator that never finds anything would go unnoticed.
invalid_object_is_found() {
    sed -i 's/"containerPort"/"containerport"/' "$work/objects.json"
    fails objects_are_valid >"$work/misfit"
    grep "StatefulSet: .* 'containerPort'\|StatefulSet: .* containerPort" "$work/misfit"
}

check_schemas() {
    install_modules "the Kubernetes schemas" "$BUILD/kubernetes" "${SCHEMAS[@]}" || return 0
    check "the objects are valid" objects_are_valid
    check "an invalid object is found" invalid_object_is_found
}

main() {
    cd "$ROOT"
    if ! has_tools "rendering for Kubernetes" kubectl python3; then finish && return; fi
    if ! kubectl_is_new_enough; then finish && return; fi
    if ! python3 -c 'import yaml' 2>/dev/null; then
        skip "rendering for Kubernetes" "Python has no yaml module"
        finish && return
    fi
    check "the example is rendered" render
    check "there is one replica and nothing scales it" runs_one_replica
    check "the pod is hardened" is_hardened
    check "probes and scrapes use the port it listens on" is_probed
    check "the scrape job is the one in the alerts" job_matches_the_alerts
    check "an account's objects select its own pod" selectors_match_the_account
    check "it gets its settings and tokens" gets_settings_and_tokens
    check "it sets only settings that exist" sets_known_settings_only
    check "DNS and the backend are reachable, over IPv6, too" network_is_reachable
    check "runtime and gateway fit each other" gateway_fits_the_runtime
    check "the gateway's pod is hardened" gateway_is_hardened
    check "no field is deprecated" no_field_is_deprecated
    if has_tools "links of Services" node; then check "links of Services are off" service_links_are_off; fi
    check "the grace period exceeds the shutdown time" grace_exceeds_shutdown
    check_schemas
    finish
}

main "$@"
