#!/usr/bin/env bash
# fuzz.sh TIME runs every fuzz target of the module for that long, one after the other: go test
# fuzzes only one at a time. An input that breaks something is kept in the package's testdata/fuzz.
set -euo pipefail

time=${1:-30s}
found=no
while read -r dir; do
	for name in $(cat "$dir"/*_test.go 2>/dev/null | sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p'); do
		found=yes
		echo "== $name in $dir"
		go test -run='^$' -fuzz="^$name\$" -fuzztime="$time" "$dir"
	done
done < <(go list -f '{{.Dir}}' ./...)
if [ $found = no ]; then
	echo "fuzz.sh: there is no fuzz target" >&2
	exit 1
fi
