package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/gohub/gohub/examples/chat/localtls"
)

// runTrust is `chat trust`: it has this machine trust the CA of -tls, or trust
// it no more. What it changes it says first. The exit status is 1 if something
// could not be done.
func runTrust(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("chat trust", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	remove := fs.Bool("remove", false, "trust it no more")
	dry := fs.Bool("n", false, "say what would be done, and do nothing")
	in := fs.String("in", localtls.System+","+localtls.Browsers, "comma-separated `stores`: system is for programs such as curl, browsers for Chromium on Linux")
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = fmt.Fprint(stdout, "Usage: chat trust [flags]\n\nHas this machine trust the CA that chat -tls uses. It says what it changes.\n\n")
		fs.SetOutput(stdout)
		fs.PrintDefaults()
		return 0
	case err == nil && fs.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	var stores []string
	for store := range strings.SplitSeq(*in, ",") {
		if store != localtls.System && store != localtls.Browsers && err == nil {
			err = fmt.Errorf("-in: %q is neither %s nor %s", store, localtls.System, localtls.Browsers)
		}
		stores = append(stores, store)
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "%v\n", err)
		return 2
	}

	find := localtls.Find
	if *remove { // which needs no key, and no other CA in its place
		find = localtls.Made
	}
	ca, err := find()
	if *remove && errors.Is(err, os.ErrNotExist) {
		err = errors.New("there is no CA of this program's: nothing to remove. For mkcert's: mkcert -uninstall")
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "%v\n", err)
		return 1
	}
	if ca.Mkcert {
		_, _ = fmt.Fprintf(stdout, "%s is mkcert's CA: `mkcert -install` and `mkcert -uninstall` change who trusts it.\nNothing was changed.\n", ca.File)
		return 1
	}
	_, _ = fmt.Fprintf(stdout, "%s\n  %s\n  SHA-256 %X\n  vouches for localhost, 127.0.0.1 and ::1 only, until %s\n",
		ca.File, ca.Cert.Subject, sha256.Sum256(ca.Cert.Raw), ca.Cert.NotAfter.Format(time.DateOnly))
	status := 0
	for _, store := range stores {
		for _, step := range ca.Plan(store, *remove) {
			_, _ = fmt.Fprintf(stdout, "\n%s\n", step.What)
			switch {
			case step.Run == nil:
				status = 1
			case *dry:
			default:
				if err := step.Run(ctx); err != nil {
					_, _ = fmt.Fprintf(stdout, "  failed: %v\n", err)
					status = 1
				}
			}
		}
	}
	switch {
	case *dry:
		_, _ = fmt.Fprint(stdout, "\nNothing was changed.\n")
	case status == 0:
		_, _ = fmt.Fprint(stdout, "\nDone. Browsers that are running see it when they are started again.\n")
	}
	return status
}
