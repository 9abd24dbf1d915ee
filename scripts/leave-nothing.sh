#!/usr/bin/env bash
# leave-nothing.sh COMMAND... runs a command so that nothing of it stays behind.
#
# Its temporary files go to a directory that is removed at the end. Every process below it inherits
# a mark; one that still runs when the command has ended is a leak, so it is shown, ended and makes
# the run fail. With CI set, so does a file that the command left in the work tree.
set -euo pipefail

dir=$(mktemp -d "${TMPDIR:-/tmp}/gohub.XXXXXX")
# A server under test may run as a user of its own and still has to get to its files.
chmod 711 "$dir"
export TMPDIR=$dir GOHUB_RUN_MARK=$dir

# The marked processes: this shell was started before the mark. Only Linux can tell.
leftovers() {
	local env pid
	for env in /proc/[0-9]*/environ; do
		pid=${env#/proc/} pid=${pid%/environ}
		if grep -qszFx "GOHUB_RUN_MARK=$dir" "$env"; then echo "$pid"; fi
	done
}

# Processes that were told to stop get half a minute to do it: a busy machine may need some of that.
wait_for_leftovers() {
	for _ in {1..300}; do
		[ -n "$(leftovers)" ] || return 0
		sleep 0.1
	done
	return 1
}

finish() {
	local status=$? pid
	trap - EXIT
	if ! wait_for_leftovers; then
		echo "leave-nothing.sh: still running after the end:" >&2
		for pid in $(leftovers); do
			echo "  $pid $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null || true)" >&2
			kill -KILL "$pid" 2>/dev/null || true
		done
		[ "$status" -ne 0 ] || status=1
	fi
	rm -rf "$dir"
	if [ -n "${CI:-}" ] && [ "$(tree_state)" != "$tree_before" ]; then
		echo "leave-nothing.sh: the work tree changed:" >&2
		git status --short >&2
		[ "$status" -ne 0 ] || status=1
	fi
	exit "$status"
}

tree_state() { git status --porcelain 2>/dev/null || true; }
tree_before=$(tree_state)

# interrupted passes the wish to stop on to everything below; finish then waits for it.
interrupted() {
	local pid
	for pid in $(leftovers); do kill -TERM "$pid" 2>/dev/null || true; done
	exit "$1"
}
trap finish EXIT
trap 'interrupted 130' INT
trap 'interrupted 143' TERM

# In the background, because a shell that waits for a foreground command hears no signal; with job
# control, because without it a background command ignores SIGINT and so would what it starts.
set -m
"$@" &
set +m
wait $!
