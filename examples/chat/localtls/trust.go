package localtls

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// A Step is one change of what this machine trusts.
type Step struct {
	// What it does, for a person: commands that they could type instead.
	What string
	// Run does it. nil: it cannot be done from here, and What says by whom.
	Run func(ctx context.Context) error
}

// The stores that [Plan] knows.
const (
	System   = "system"   // what programs such as curl trust, by update-ca-certificates
	Browsers = "browsers" // what Chromium trusts on Linux: the NSS database of this user
)

// Plan says how to trust the CA in a store, or to trust it no more. Nothing is
// changed until its steps are run, in order.
func (ca *CA) Plan(store string, remove bool) []Step {
	switch store {
	case System:
		return ca.system(systemDir, remove)
	case Browsers:
		return ca.nss(remove)
	}
	return []Step{{What: fmt.Sprintf("%q is no store: %s and %s are", store, System, Browsers)}}
}

// systemDir is where Debian and its kin keep what an administrator adds.
const systemDir = "/usr/local/share/ca-certificates"

func (ca *CA) system(dir string, remove bool) []Step {
	update, err := exec.LookPath("update-ca-certificates")
	if err != nil {
		return []Step{{What: "The system's store: there is no update-ca-certificates here. Add or remove this file as your system wants it:\n  " + ca.File}}
	}
	file := filepath.Join(dir, ca.fileName())
	args := []string{update}
	what := fmt.Sprintf("The system's store:\n  install -m 644 %s %s\n  update-ca-certificates", quote(ca.File), quote(file))
	change := func() error {
		b, err := os.ReadFile(ca.File)
		if err != nil {
			return err
		}
		return os.WriteFile(file, b, 0o644) //nolint:gosec // a certificate is for all to read
	}
	if remove {
		args = append(args, "--fresh")
		what = fmt.Sprintf("The system's store:\n  rm %s\n  update-ca-certificates --fresh", quote(file))
		change = func() error { return os.Remove(file) }
		if _, err := os.Stat(file); err != nil {
			return []Step{{What: "The system's store does not have it.", Run: nothing}}
		}
	}
	if os.Geteuid() != 0 {
		return []Step{{What: what + "\n  which only root may do: run these with sudo"}}
	}
	return []Step{{What: what, Run: func(ctx context.Context) error {
		if err := change(); err != nil {
			return err
		}
		return command(ctx, args...)
	}}}
}

func (ca *CA) nss(remove bool) []Step {
	home, err := os.UserHomeDir()
	if err != nil {
		return []Step{{What: "Chromium's store: " + err.Error()}}
	}
	certutil, err := exec.LookPath("certutil")
	if err != nil {
		return []Step{{What: "Chromium's store: there is no certutil here. It is in Debian's package libnss3-tools"}}
	}
	dir := filepath.Join(home, ".pki", "nssdb")
	db, name := "sql:"+dir, ca.Cert.Subject.CommonName
	_, err = os.Stat(filepath.Join(dir, "cert9.db"))
	exists := err == nil
	run := func(args ...string) Step {
		return Step{
			What: "Chromium's store:\n  certutil -d " + quote(db) + " " + quoteAll(args),
			Run:  func(ctx context.Context) error { return command(ctx, append([]string{certutil, "-d", db}, args...)...) },
		}
	}
	if remove {
		if !exists {
			return []Step{{What: "Chromium's store does not have it.", Run: nothing}}
		}
		return []Step{run("-D", "-n", name)}
	}
	add := run("-A", "-t", "C,,", "-n", name, "-i", ca.File) // C: a CA for servers, and for nothing else
	if exists {
		return []Step{add}
	}
	create := run("-N", "--empty-password")
	create.What = strings.Replace(create.What, ":\n", ":\n  mkdir -p "+quote(dir)+"\n", 1)
	makeDB := create.Run
	create.Run = func(ctx context.Context) error {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		return makeDB(ctx)
	}
	return []Step{create, add}
}

func nothing(context.Context) error { return nil }

// fileName is the certificate's in a directory of such: update-ca-certificates
// takes *.crt.
func (ca *CA) fileName() string {
	return regexp.MustCompile(`[^A-Za-z0-9-]+`).ReplaceAllString(ca.Cert.Subject.CommonName, "_") + ".crt"
}

// command runs a program. What it says is in the error alone.
func command(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput() //nolint:gosec // programs found in PATH, by our own names
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(args[0]), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func quoteAll(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = quote(a)
	}
	return strings.Join(quoted, " ")
}

// quote writes a word as a shell would read it.
func quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return !strings.ContainsRune("-_./:,=@%+", c) && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
