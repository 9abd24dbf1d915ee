#!/usr/bin/env bash
# need.sh NAME... makes sure that the named things are on this machine.
#
# What is missing is installed with Debian's package tools if we are root or sudo asks for no
# password; otherwise everything missing is listed at once and the script fails. Nothing is ever
# skipped: tests that did not run look exactly like tests that passed.
set -euo pipefail

have() { command -v "$1" >/dev/null 2>&1; }

# A C compiler without the C library's headers is no use to the race detector.
can_compile_c() { have "${CC:-gcc}" && echo '#include <stdlib.h>' | "${CC:-gcc}" -fsyntax-only -xc - 2>/dev/null; }

node_is_new_enough() { have node && [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ]; }

# Say where Chromium is with GOHUB_CHROMIUM if it has another name.
find_chromium() { have "${GOHUB_CHROMIUM:-chromium}" || have chromium-browser || have google-chrome; }

# Debian keeps the server's programs where no PATH leads; tests run clusters of their own with them.
find_postgres() { compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || have initdb; }

# Everything a need is: how to see that it is there, its Debian packages (- if there are none that
# would do), and a word for those who install by hand.
describe() {
	case $1 in
	#          check                    packages             by hand
	go)        need "have go"             "-"                  "Go, at least the version in go.mod: https://go.dev/doc/install" ;;
	cc)        need "can_compile_c"       "gcc libc6-dev"      "a C compiler, for Go's race detector" ;;
	node)      need "node_is_new_enough"  "nodejs"             "Node.js 20 or newer: https://nodejs.org" ;;
	npm)       need "have npm"            "npm"                "npm, which most Node.js packages contain" ;;
	chromium)  need "find_chromium"       "chromium"           "Chromium, or GOHUB_CHROMIUM naming another build of it" ;;
	certutil)  need "have certutil"       "libnss3-tools"      "certutil of NSS, to trust a CA in a browser's profile" ;;
	postgres)  need "find_postgres"       "postgresql"         "PostgreSQL's server, 15 or newer: initdb, postgres, psql" ;;
	redis)     need "have redis-server"   "redis-server"       "Redis 7.0 or newer, or another server with its name: redis-server" ;;
	valgrind)  need "have valgrind"       "valgrind"           "valgrind, which counts instructions" ;;
	*) echo "need.sh: nothing here is called '$1'" >&2; exit 2 ;;
	esac
}
need() { check=$1 packages=$2 hint=$3; }

missing=()
collect_missing() {
	missing=()
	local name
	for name in "$@"; do
		describe "$name"
		$check || missing+=("$name")
	done
}

# as_root is how to become root: nothing, sudo, or not at all.
may_install() {
	have apt-get || return 1
	if [ "$(id -u)" -eq 0 ]; then
		as_root=()
	elif have sudo && sudo -n true 2>/dev/null; then
		as_root=(sudo -n)
	else
		return 1
	fi
}

# Debian starts a server as soon as its package is unpacked. The tests start their own on ports and
# directories of their own, so that one must not run: a policy says no for as long as we install.
policy=/usr/sbin/policy-rc.d
policy_is_ours=no
forbid_services() {
	[ -e "$policy" ] && return
	printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
	policy_is_ours=yes
	"${as_root[@]}" chmod 755 "$policy"
}
allow_services() {
	[ "$policy_is_ours" = no ] || "${as_root[@]}" rm -f "$policy"
}

install_missing() {
	local name all=()
	for name in "${missing[@]}"; do
		describe "$name"
		# shellcheck disable=SC2206 # a list of words on purpose
		[ "$packages" = - ] || all+=($packages)
	done
	[ ${#all[@]} -gt 0 ] || return 0
	echo "need.sh: installing ${all[*]}"
	trap allow_services EXIT
	forbid_services
	# An old list may still do, so only the installation decides.
	"${as_root[@]}" apt-get update -qq || echo "need.sh: the package lists could not be renewed" >&2
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "${all[@]}" >/dev/null ||
		echo "need.sh: apt-get could not install all of it" >&2
	hash -r
}

collect_missing "$@"
[ ${#missing[@]} -gt 0 ] || exit 0
if may_install; then
	install_missing
	collect_missing "$@"
	[ ${#missing[@]} -gt 0 ] || exit 0
fi

{
	echo "Missing on this machine:"
	for name in "${missing[@]}"; do
		describe "$name"
		printf '  %-10s %s\n' "$name" "$hint"
		[ "$packages" = - ] || printf '  %-10s Debian: apt-get install %s\n' '' "$packages"
	done
} >&2
exit 1
