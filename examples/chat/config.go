package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gohub/gohub"
)

// config is what the command line and the environment say.
type config struct {
	addr     string
	data     string // directory, or inMemory; empty: in postgres
	postgres string
	redis    string // URL; empty: this node is alone
	node     string
	url      string // where clients reach this node
	origins  []string
	rate     int // frames a second and session; 0: unlimited
	drain    time.Duration

	proxies   []string // addresses in front of us, which end TLS; none: there is no proxy
	tls       bool     // also with cert
	cert, key string   // files; empty: of the local CA
}

// drainTime is drain as the hub's Config has it.
func (c config) drainTime() time.Duration {
	if c.drain == 0 {
		return -1
	}
	return c.drain
}

// sessionRate is what a session may send: rate frames, and as many bytes as the
// hub would have it by default.
func (c config) sessionRate() gohub.Rate {
	if c.rate == 0 {
		return gohub.Rate{}
	}
	return gohub.Rate{Frames: float64(c.rate), Bytes: 1 << 20}
}

// secure tells whether clients come by HTTPS.
func (c config) secure() bool { return c.tls || len(c.proxies) > 0 }

// limitAddresses sets limits by address where the proxies that tell them are
// known: without a proxy this is a demonstration on one machine, where all are one.
func (c config) limitAddresses(hub *gohub.Config) {
	if len(c.proxies) == 0 {
		return
	}
	hub.TrustedProxies = c.proxies
	hub.MaxConns, hub.MaxConnsPerIP, hub.HandshakeRatePerIP = 10_000, 50, 5
}

const (
	// defaultData is in the working directory, as with other servers that are
	// started from a checkout: in sight, removed with it, and there without a
	// home directory. Two checkouts, whose schemas may differ, share nothing.
	defaultData = "chat-data"
	// inMemory is the value of -data that keeps history in no directory; one of
	// that name is ./memory.
	inMemory = "memory"
)

// parseConfig reads args and, for flags that are not among them, the
// environment. Help goes to out and comes back as flag.ErrHelp; any other
// error names the flag or the variable that is wrong.
func parseConfig(args []string, getenv func(string) string, out io.Writer) (config, error) {
	c := config{addr: "127.0.0.1:8080", data: defaultData, rate: 50, drain: 5 * time.Second}
	fs := flag.NewFlagSet("chat", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are printed once, by the caller
	fs.Usage = func() {}

	fs.Func("addr", "`host:port` to listen on; port 0 takes a free one (default 127.0.0.1:8080)", func(s string) error {
		_, port, err := net.SplitHostPort(s)
		if err != nil {
			return errors.New("want host:port, such as 127.0.0.1:8080 or :8080")
		}
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			return errors.New("the port must be 0 to 65535")
		}
		c.addr = s
		return nil
	})
	fs.Func("data", "`directory` to keep history in, as chat.db; memory: in none, so that it ends with the process (default "+defaultData+")", func(s string) error {
		if s == "" {
			return errors.New("want a directory, or memory") // likely a variable that is not set
		}
		c.data = s
		return nil
	})
	fs.StringVar(&c.postgres, "postgres", "", "`URL` of a Postgres database to keep history in, instead of -data")
	fs.StringVar(&c.redis, "redis", "", "`URL` of the Redis that joins this node with others, which have the same -postgres; of a Redis Cluster redis://host:port?addr=host:port&addr=…")
	fs.StringVar(&c.node, "node", "", "`name` of this node, which no other one has (default: host name and process id)")
	fs.Func("advertise", "`URL` at which clients reach this one of several nodes, such as wss://chat-1.example.com/ws", func(s string) error {
		u, err := url.Parse(s)
		if s != "" && (err != nil || u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "" || u.Path != "/ws") {
			return errors.New("want ws://host/ws or wss://host/ws")
		}
		c.url = s
		return nil
	})
	fs.Func("origins", "comma-separated `list` of further origins whose pages may connect, such as https://app.example.com", func(s string) (err error) {
		c.origins, err = parseOrigins(s)
		return err
	})
	fs.Func("rate", "`frames` a second that a session may send; 0: unlimited (default 50)", func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return errors.New("want a whole number, 0 or more")
		}
		c.rate = n
		return nil
	})
	fs.Func("drain", "`time` that clients get to move elsewhere at shutdown, such as 30s; 0: none (default 5s)", func(s string) error {
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 || d > 0 && d < 10*time.Millisecond {
			return errors.New("want a duration of 10ms or more, or 0")
		}
		c.drain = d
		return nil
	})
	fs.Func("behind-proxy", "comma-separated `addresses` or prefixes, such as 10.0.0.0/8, of the proxies in front, which end TLS and set X-Forwarded-For; with -advertise wss://…", func(s string) error {
		c.proxies = nil
		for a := range strings.SplitSeq(s, ",") {
			if a = strings.TrimSpace(a); a == "" {
				continue
			}
			_, err := netip.ParseAddr(a)
			if _, errPrefix := netip.ParsePrefix(a); err != nil && errPrefix != nil {
				return fmt.Errorf("%q is neither an address nor a prefix such as 10.0.0.0/8", a)
			}
			c.proxies = append(c.proxies, a)
		}
		return nil
	})
	fs.BoolVar(&c.tls, "tls", false, "HTTPS and WSS at localhost, with a certificate of mkcert's CA or of one of its own; see chat trust")
	fs.StringVar(&c.cert, "cert", "", "PEM `file` with a certificate and its chain, to be used for TLS; with -key")
	fs.StringVar(&c.key, "key", "", "PEM `file` with the key of -cert")

	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			_, _ = fmt.Fprintf(out, "Usage: chat [flags]\n       chat trust [-remove] [-n] [-in stores]\n\nEach flag can also be given in the environment, -addr as %s and so on; the flag wins.\n\n", envName("addr"))
			fs.SetOutput(out)
			fs.PrintDefaults()
		}
		return config{}, err
	}
	if fs.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}

	source := map[string]string{} // flag → where its value came from
	fs.Visit(func(f *flag.Flag) { source[f.Name] = "-" + f.Name })
	var errs []error
	fs.VisitAll(func(f *flag.Flag) {
		name := envName(f.Name)
		value := getenv(name)
		if source[f.Name] != "" || value == "" { // empty is unset: compose files leave such behind
			return
		}
		source[f.Name] = name
		if err := fs.Set(f.Name, value); err != nil {
			errs = append(errs, fmt.Errorf("invalid value %q for %s: %w", value, name, err))
		}
	})
	if c.postgres != "" {
		c.data = ""
		if from := source["data"]; from != "" {
			errs = append(errs, fmt.Errorf("%s and %s: history is kept in one place", from, source["postgres"]))
		}
	}
	if c.redis != "" && c.postgres == "" {
		errs = append(errs, fmt.Errorf("%s: several nodes need a history that they share: give -postgres", source["redis"]))
	}
	switch {
	case (c.cert == "") != (c.key == ""):
		errs = append(errs, errors.New("-cert and -key: one is nothing without the other"))
	case c.cert != "":
		c.tls = true
	case c.tls && !isLocal(c.addr):
		errs = append(errs, fmt.Errorf("-tls: its certificate is for this machine alone, so %s cannot be served with it: give -cert and -key", c.addr))
	}
	if len(c.proxies) > 0 && !strings.HasPrefix(c.url, "wss://") {
		errs = append(errs, fmt.Errorf("%s: what clients call this server only the proxy knows: give -advertise wss://host/ws", source["behind-proxy"]))
	}
	if err := errors.Join(errs...); err != nil {
		return config{}, err
	}
	return c, nil
}

// envName is the environment's name of a flag: GOHUB_ADDR for addr.
func envName(flag string) string {
	return "GOHUB_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// parseOrigins reads a comma-separated list of origins. They are compared
// exactly, so whatever a browser would never send is an error here rather
// than a silent mismatch later.
func parseOrigins(s string) ([]string, error) {
	var list []string
	for origin := range strings.SplitSeq(s, ",") {
		if origin = strings.TrimSpace(origin); origin == "" {
			continue
		}
		u, err := url.Parse(origin)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || origin != u.Scheme+"://"+strings.ToLower(u.Host) {
			return nil, fmt.Errorf("%q is no origin; want scheme://host[:port] in lower case, without a path", origin)
		}
		list = append(list, origin)
	}
	return list, nil
}
