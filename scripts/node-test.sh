#!/usr/bin/env bash
# node-test.sh DIR installs the packages that DIR's lock file names and runs its tests with node's
# own runner. A run without tests, or with skipped ones, is a failure.
set -euo pipefail

cd "$1"
# Prefer our own word for the browser, so that tests need not search for it.
if [ -z "${GOHUB_CHROMIUM:-}" ]; then
	GOHUB_CHROMIUM=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
	export GOHUB_CHROMIUM
fi

echo "== node --test in $1"
npm ci --no-audit --no-fund --ignore-scripts --no-update-notifier --logs-max=0 --loglevel=error

own=$(mktemp -d)
trap 'rm -rf "$own"' EXIT
log=$own/log

# A browser keeps crash reports and settings in the user's directories however it is started. Go,
# which the tests call to build the server, keeps its caches and settings there too.
GOCACHE=$(go env GOCACHE) GOENV=$(go env GOENV)
export GOCACHE GOENV XDG_CONFIG_HOME=$own/config XDG_CACHE_HOME=$own/cache

# Files run one after the other, unless package.json says how many may run at once: browsers mostly wait.
concurrency=$(node -p "require('./package.json').config?.concurrency ?? 1")

# `timeout` ends the runner and everything it started that shares its process group.
FORCE_COLOR=0 timeout -k 10 "${NODE_TEST_TIMEOUT:-1200}" node --test --test-concurrency="$concurrency" --test-reporter=spec 2>&1 | tee "$log"

# The runner closes with lines like "ℹ tests 12" and "ℹ skipped 0".
count() { sed -nE "s/^[^ ]+ $1 ([0-9]+)\$/\1/p" "$log" | tail -n 1; }
if [ "$(count tests)" = 0 ] || [ -z "$(count tests)" ]; then
	echo "node-test.sh: no test ran in $1" >&2
	exit 1
fi
if [ "$(count skipped)" != 0 ]; then
	echo "node-test.sh: $(count skipped) skipped in $1; a test that cannot run must fail" >&2
	exit 1
fi
