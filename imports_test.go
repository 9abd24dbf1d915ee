package gohub_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A program that embeds the hub pays only for what it imports, and an adapter can be replaced
// without touching another. That holds as long as imports point one way, so it is asserted here:
//
//	root, internal/…       the standard library, coder/websocket, internal/…
//	adapters               the root, internal/…, whatever third party they adapt; no other adapter
//	suites for tests       the root, internal/…, each other; nothing third party
//	programs (examples …)  anything; nobody imports them
//
// `go list` describes the package tree and [importViolations] judges the description, so that the
// rules can be shown to fail on trees that do not exist.

const (
	ownModule = "github.com/gohub/gohub"
	coderWS   = "github.com/coder/websocket"
)

// listedPackage is the part of `go list -json` that the rules look at.
type listedPackage struct {
	ImportPath   string
	Imports      []string // by its ordinary files
	Deps         []string // everything those reach, test files not included
	TestImports  []string // by _test.go files inside the package
	XTestImports []string // by _test.go files in its _test package
}

type packageKind int

const (
	kindUnknown packageKind = iota
	kindRoot
	kindInternal
	kindAdapter
	kindSuite   // conformance suites and hubtest: importable, but only ever into tests
	kindProgram // what shows, measures or ships the library
)

// packageRole says which rules a package of this module follows, and for an adapter which adapter
// it belongs to: store/postgres/migrations is a part of store/postgres.
func packageRole(importPath string) (kind packageKind, adapter string) {
	if importPath == ownModule {
		return kindRoot, ""
	}
	rel, ok := strings.CutPrefix(importPath, ownModule+"/")
	if !ok {
		return kindUnknown, ""
	}
	parts := strings.Split(rel, "/")
	switch parts[0] {
	case "internal":
		switch rel {
		case "internal/atrest", "internal/pgtest", "internal/redistest", "internal/killtest", "internal/localcluster":
			return kindSuite, "" // only ever in tests, or to try things
		}
		return kindInternal, ""
	case "auth", "metrics":
		return kindAdapter, parts[0]
	case "store", "cluster":
		if len(parts) == 1 {
			return kindUnknown, "" // the contracts live in the root, not here
		}
		if parts[1] == "storetest" || parts[1] == "clustertest" {
			return kindSuite, ""
		}
		return kindAdapter, parts[0] + "/" + parts[1]
	case "hubtest":
		return kindSuite, ""
	case "examples", "bench", "cmd", "deploy", "clients", "tests":
		return kindProgram, ""
	}
	return kindUnknown, ""
}

// testOnlyModules must not be compiled into anything but a test binary.
var testOnlyModules = []string{"github.com/stretchr/testify", "go.uber.org/goleak"}

// heavyModules maps each big dependency to the one package that may bring it along.
var heavyModules = map[string]string{
	"github.com/prometheus":    "metrics",
	"github.com/jackc/pgx":     "store/postgres",
	"modernc.org/sqlite":       "store/sqlite",
	"github.com/redis/rueidis": "cluster/redis",
	"github.com/lestrrat-go":   "auth",
	"github.com/a-h/templ":     "examples/chat",
}

// importViolations returns one sentence for each broken rule, sorted.
func importViolations(packages []listedPackage) []string {
	var found []string
	for _, p := range packages {
		kind, adapter := packageRole(p.ImportPath)
		report := func(format string, args ...any) {
			found = append(found, p.ImportPath+" "+fmt.Sprintf(format, args...))
		}

		if kind == kindUnknown {
			report("follows no rule: give it a place in packageRole")
		}
		for _, dep := range p.Imports {
			depKind, depAdapter := packageRole(dep)
			switch {
			case depKind == kindSuite && kind != kindSuite:
				report("imports the suite %s outside a test", dep)
			case kind == kindProgram:
			case isStandard(dep) || isWithin(dep, coderWS) || depKind == kindInternal:
			case kind == kindRoot || kind == kindInternal:
				report("imports %s: only the standard library, %s and internal are allowed", dep, coderWS)
			case kind == kindSuite && depKind != kindRoot && depKind != kindSuite:
				report("imports %s: a suite brings nothing along but the root", dep)
			case kind == kindAdapter && depKind == kindAdapter && depAdapter != adapter:
				report("imports the adapter %s", dep)
			}
		}
		for _, dep := range append(slices.Clone(p.TestImports), p.XTestImports...) {
			depKind, depAdapter := packageRole(dep)
			if kind == kindAdapter && depKind == kindAdapter && depAdapter != adapter {
				report("imports the adapter %s in a test", dep)
			}
		}
		for _, dep := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if depKind, _ := packageRole(dep); depKind == kindProgram && kind != kindProgram {
				report("imports %s, which only shows the library", dep)
			}
		}
		reached := slices.Concat(p.Imports, p.Deps)
		for _, module := range testOnlyModules {
			if slices.ContainsFunc(reached, func(dep string) bool { return isWithin(dep, module) }) {
				report("reaches %s outside a test", module)
			}
		}
		for module, owner := range heavyModules {
			isOwner := func(path string) bool { return isWithin(path, ownModule+"/"+owner) }
			if isOwner(p.ImportPath) || slices.ContainsFunc(reached, isOwner) {
				continue
			}
			if slices.ContainsFunc(reached, func(dep string) bool { return isWithin(dep, module) }) {
				report("reaches %s without importing %s", module, owner)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// isStandard tells a package of the standard library by its name: only other people's first
// element has a dot. "C" is not one of them: cgo would end cross-compiling for everyone.
func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".") && path != "C"
}

// isWithin reports whether path is the package at root or one below it.
func isWithin(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/")
}

func TestImportRules(t *testing.T) {
	t.Parallel()
	list := exec.CommandContext(t.Context(), "go", "list",
		"-json=ImportPath,Imports,Deps,TestImports,XTestImports", "./...")
	// The committed workspace joins the examples' module to this one; the rules are this module's.
	list.Env = append(os.Environ(), "GOWORK=off")
	var complaints bytes.Buffer
	list.Stderr = &complaints
	out, err := list.Output()
	require.NoError(t, err, "go list: %s", &complaints)

	var packages []listedPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listedPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		packages = append(packages, p)
	}
	require.True(t, slices.ContainsFunc(packages, func(p listedPackage) bool {
		return p.ImportPath == ownModule && len(p.XTestImports) > 0
	}), "go list did not describe this very package")
	require.Empty(t, importViolations(packages))
}

func TestImportRulesCatch(t *testing.T) {
	t.Parallel()
	const (
		root     = ownModule
		wire     = ownModule + "/internal/wire"
		auth     = ownModule + "/auth"
		metrics  = ownModule + "/metrics"
		postgres = ownModule + "/store/postgres"
		sqlite   = ownModule + "/store/sqlite"
		redis    = ownModule + "/cluster/redis"
		suite    = ownModule + "/store/storetest"
		pgtest   = ownModule + "/internal/pgtest"
		hubtest  = ownModule + "/hubtest"
		example  = ownModule + "/examples/embed"
		testify  = "github.com/stretchr/testify/require"
		pgx      = "github.com/jackc/pgx/v5/pgxpool"
	)
	tests := []struct {
		name    string
		pkg     listedPackage
		because string // part of the one complaint expected; empty: the package is fine
	}{
		{
			name: "root with what it may have",
			pkg: listedPackage{
				ImportPath: root, Imports: []string{"net/http", coderWS, wire},
				TestImports: []string{testify}, XTestImports: []string{hubtest, suite, postgres, testify},
			},
		},
		{
			name:    "root imports a third party",
			pkg:     listedPackage{ImportPath: root, Imports: []string{"github.com/google/uuid"}},
			because: "imports github.com/google/uuid",
		},
		{
			name:    "root imports a module whose name begins like an allowed one",
			pkg:     listedPackage{ImportPath: root, Imports: []string{coderWS + "-extra"}},
			because: "imports " + coderWS + "-extra",
		},
		{
			name:    "root imports an adapter",
			pkg:     listedPackage{ImportPath: root, Imports: []string{auth}},
			because: "imports " + auth,
		},
		{
			name:    "root needs cgo",
			pkg:     listedPackage{ImportPath: root, Imports: []string{"C"}},
			because: "imports C:",
		},
		{
			name: "internal with what it may have",
			pkg:  listedPackage{ImportPath: wire, Imports: []string{"unicode/utf8", ownModule + "/internal/wsconn"}},
		},
		{
			name:    "internal imports the root",
			pkg:     listedPackage{ImportPath: wire, Imports: []string{root}},
			because: "imports " + root + ":",
		},
		{
			name:    "internal imports a third party",
			pkg:     listedPackage{ImportPath: wire, Imports: []string{"github.com/valyala/fastjson"}},
			because: "imports github.com/valyala/fastjson",
		},
		{
			name: "adapter with what it may have",
			pkg: listedPackage{
				ImportPath: postgres, Imports: []string{root, wire, pgx, postgres + "/migrations"},
				Deps: []string{root, pgx}, XTestImports: []string{suite, testify},
			},
		},
		{
			name:    "adapter imports another",
			pkg:     listedPackage{ImportPath: postgres, Imports: []string{root, sqlite}},
			because: "imports the adapter " + sqlite,
		},
		{
			name:    "adapter imports another from its tests",
			pkg:     listedPackage{ImportPath: redis, XTestImports: []string{postgres}},
			because: "imports the adapter " + postgres + " in a test",
		},
		{
			name:    "part of an adapter imports another",
			pkg:     listedPackage{ImportPath: auth + "/tickets", Imports: []string{metrics}},
			because: "imports the adapter " + metrics,
		},
		{
			name:    "adapter imports its suite outside a test",
			pkg:     listedPackage{ImportPath: postgres, Imports: []string{suite}},
			because: "imports the suite " + suite + " outside a test",
		},
		{
			name:    "adapter runs the tests' server outside a test",
			pkg:     listedPackage{ImportPath: postgres, Imports: []string{root, pgtest}},
			because: "imports the suite " + pgtest + " outside a test",
		},
		{
			name:    "root imports a suite outside a test",
			pkg:     listedPackage{ImportPath: root, Imports: []string{hubtest}},
			because: "imports the suite " + hubtest + " outside a test",
		},
		{
			name: "suite with what it may have",
			pkg:  listedPackage{ImportPath: suite, Imports: []string{root, hubtest, "testing"}},
		},
		{
			name:    "suite imports an adapter",
			pkg:     listedPackage{ImportPath: suite, Imports: []string{sqlite}},
			because: "imports " + sqlite + ": a suite brings nothing along",
		},
		{
			name:    "suite imports a third party",
			pkg:     listedPackage{ImportPath: suite, Imports: []string{"github.com/google/go-cmp/cmp"}},
			because: "imports github.com/google/go-cmp/cmp: a suite brings nothing along",
		},
		{
			name:    "example imports a suite outside a test",
			pkg:     listedPackage{ImportPath: example, Imports: []string{suite}},
			because: "imports the suite " + suite + " outside a test",
		},
		{
			name:    "suite leaks the assertion library",
			pkg:     listedPackage{ImportPath: hubtest, Deps: []string{testify}},
			because: "reaches github.com/stretchr/testify outside a test",
		},
		{
			name:    "adapter leaks the leak checker",
			pkg:     listedPackage{ImportPath: auth, Imports: []string{"go.uber.org/goleak"}},
			because: "reaches go.uber.org/goleak outside a test",
		},
		{
			name: "example with what it may have",
			pkg: listedPackage{
				ImportPath: example, Imports: []string{root, auth, postgres, example + "/page"},
				Deps: []string{root, auth, postgres, pgx, "github.com/lestrrat-go/jwx/v2/jwt"},
			},
		},
		{
			name:    "test imports an example",
			pkg:     listedPackage{ImportPath: root, XTestImports: []string{example}},
			because: "imports " + example + ", which only shows the library",
		},
		{
			name:    "adapter imports an example",
			pkg:     listedPackage{ImportPath: auth, Imports: []string{example}},
			because: "imports " + example + ", which only shows the library",
		},
		{
			name:    "Prometheus reaches the root through what it imports",
			pkg:     listedPackage{ImportPath: root, Deps: []string{"github.com/prometheus/client_golang/prometheus"}},
			because: "reaches github.com/prometheus without importing metrics",
		},
		{
			name:    "rueidis reaches another adapter",
			pkg:     listedPackage{ImportPath: auth, Imports: []string{"github.com/redis/rueidis"}},
			because: "reaches github.com/redis/rueidis without importing cluster/redis",
		},
		{
			name:    "jwx reaches a program that does not use auth",
			pkg:     listedPackage{ImportPath: example, Imports: []string{root}, Deps: []string{root, "github.com/lestrrat-go/jwx/v2/jwt"}},
			because: "reaches github.com/lestrrat-go without importing auth",
		},
		{
			name:    "SQLite reaches the other store",
			pkg:     listedPackage{ImportPath: postgres, Imports: []string{"modernc.org/sqlite"}},
			because: "reaches modernc.org/sqlite without importing store/sqlite",
		},
		{
			name:    "package that no rule knows",
			pkg:     listedPackage{ImportPath: ownModule + "/util"},
			because: "follows no rule",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// Only the package under test may be at fault, so its neighbours keep the rules.
			got := importViolations([]listedPackage{{ImportPath: ownModule, Imports: []string{"fmt"}}, tt.pkg})
			if tt.because == "" {
				require.Empty(t, got)
				return
			}
			require.Len(t, got, 1)
			require.Contains(t, got[0], tt.pkg.ImportPath+" ")
			require.Contains(t, got[0], tt.because)
		})
	}
}
