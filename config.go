package gohub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"time"
)

// Config says how a hub works. The zero value of every field but
// Authenticator is a working default. [New] reads it once; changing it later
// does nothing.
type Config struct {
	// Authenticator says who is connecting. Required, unless AllowAnonymous.
	Authenticator Authenticator
	// AllowAnonymous lets a hub run without an Authenticator: every
	// connection is then a user of its own with a made-up id. For trying out.
	AllowAnonymous bool

	// MayJoin says whether a user may join a room. Defaults to [ListedRooms]:
	// the rooms that Identity.Rooms lists or, where it is nil, every room of
	// their tenant. Direct rooms are for their two users in any case; for those
	// it is asked too, also when a publish names the other user.
	//
	// It is asked at each join and, with the new identity, at a refresh about
	// every room that the session has joined: those that are refused it leaves,
	// as by Hub.Leave. It is not asked about rooms that the program has joined
	// the session to, nor who may read a private message in a room.
	//
	// Return an [*Error] to choose what the client is told; any other error is
	// logged and becomes "internal". Such a one, and an *Error with a
	// RetryAfter, says that the answer is not known now: a refresh then changes
	// nothing. It is called on the session's goroutine, for different sessions
	// concurrently, and may take its time; ctx ends with the hub.
	MayJoin func(ctx context.Context, who Identity, room RoomID) error

	// Store keeps messages and watermarks. Defaults to NewMemoryStore with
	// its defaults, which forgets everything with the process; store/sqlite
	// keeps it in a file.
	Store Store
	// Broker orders messages and carries them between hubs, which share a Store
	// then. Defaults to NewMemoryBroker: this process is the whole cluster.
	Broker Broker
	// Directory knows the other nodes of a cluster. Defaults to the Broker where
	// that is one too, as the Redis broker is; else to none: this hub knows of
	// no other.
	Directory Directory
	// RateLimiter bounds what a session may send. Defaults to
	// NewRateLimiter(Rate{Frames: 100, Bytes: 1 << 20}).
	RateLimiter RateLimiter

	// Node names this process in "welcome", in tickets and to the other nodes of
	// a cluster: no two may have the same, or one of the two is sent nobody.
	// Defaults to the host's name and the process id, which containers with one
	// host name may share.
	Node string
	// URL is where clients reach this node's handler, as negotiate tells
	// them: "wss://chat-3.example.com/ws". Defaults to the address the
	// negotiate request came to; behind a proxy that ends TLS set it, or
	// clients are told ws://. In a cluster it is the node's own, for [Config].Route;
	// nodes that clients reach only through one load balancer all have that
	// one's, letter for letter, or none, and take each other's tickets.
	URL string
	// Weight is this node's share of what is spread over the nodes, in relation
	// to theirs; see [RingNode]. Defaults to 1, at most 1,000, and 5,000 of all
	// nodes together: beyond that nobody is sent anywhere, and hubs log an error.
	Weight int
	// Route says what a session belongs with: all of one key are sent to the
	// same node, as long as the nodes stay what they are; "": wherever they
	// come. It has an effect where the Directory knows nodes with another URL
	// than this one's, and both are set: negotiate then answers the URL of the
	// node to which the key belongs, and a handshake that no page has sent is
	// answered with 307 to there. It is an optimisation, of what is done on one
	// node when all who matter are there; all works as well without it.
	// Defaults to [RouteByUser]; [NoRouting] sends nobody away. It is called
	// concurrently, after the Authenticator, and must not block.
	Route func(r *http.Request, who Identity) (key string)
	// Origins lists the origins, besides the request's own host (with TLS that
	// ends here, by https alone), whose pages may connect: "https://example.com" or "https://*.example.com". "*"
	// allows all that have one, which lets any page act as its visitor: only
	// without cookies. A page that has none ("null": sandboxed frames, files)
	// is always refused. Requests without an Origin header do not come from a
	// page and are allowed, unless RequireOrigin.
	Origins []string
	// RequireOrigin refuses handshakes without an Origin header, which every
	// browser sends, with 403: a hub for pages alone. It keeps honest programs
	// out; others write the header they like. Negotiate is answered without
	// one all the same: browsers leave it out of a GET to the page's own host.
	RequireOrigin bool

	// MaxConns is how many connections this hub may have at a time, counted
	// from the handshake until the socket is closed. 0 (the default) or -1: no
	// limit, since only you know how much memory there is; count 10 KB each,
	// MaxQueue and 2 MiB for those that are slow, and a file descriptor.
	// Beyond it: 503.
	MaxConns int
	// MaxConnsPerIP is the same for one address. An IPv6 /64 counts as one
	// address, and IPv4 in IPv6 as IPv4. 0 (the default) or -1: no limit.
	// Beyond it: 429. Negotiate is not refused for this nor for MaxConns, as
	// sessions need it to renew their ticket.
	//
	// Limits by address are off by default because behind a proxy all clients
	// have one address, the proxy's, until TrustedProxies names it; and behind
	// one company's or carrier's router many users share one in any case.
	MaxConnsPerIP int
	// HandshakeRate is how many handshakes and negotiates a second are let
	// through to the Authenticator, from all addresses together; a browser
	// that negotiates needs two to connect. A burst of twice that, at least
	// one, is allowed on top at any time. 0 (the default) or -1: no limit.
	// Beyond it: 429. It protects an Authenticator that costs something, but
	// one flooder can use it up: HandshakeRatePerIP is looked at first.
	HandshakeRate float64
	// HandshakeRatePerIP is the same for one address, as MaxConnsPerIP counts
	// them. 0 (the default) or -1: no limit. Beyond it: 429. The hub remembers
	// the last 65,536 addresses for it, beside those with connections.
	HandshakeRatePerIP float64
	// TrustedProxies are the addresses ("192.0.2.1") and prefixes
	// ("10.0.0.0/8") of the proxies in front of the hub, for the limits by
	// address. When a request comes from one, the last address in its
	// X-Forwarded-For that is not one itself is the client's; a proxy must
	// append to that header, or replace it. From anybody else, and by default,
	// the header means nothing. Name no network that clients connect from:
	// they could take any address. A peer on a Unix socket has no address to
	// be trusted by, and all of those count as one.
	TrustedProxies []string

	// MaxFrame is how many bytes a client's message may have, over all its
	// WebSocket fragments. Defaults to 65,536, at least 2,048. Beyond it:
	// close 1009.
	MaxFrame int
	// MaxBody is how many bytes a message's body may have. Defaults to
	// MaxFrame less 1,024, at most MaxFrame. Beyond it: error too_large.
	MaxBody int
	// MaxQueue is how many bytes may wait for a client that reads slowly.
	// Defaults to 1 MiB, at least 1,024. Beyond it: close 4000.
	MaxQueue int
	// MaxRooms is how many rooms a session may have joined. Defaults to 100.
	// -1: no limit.
	MaxRooms int
	// MaxSessionsPerUser is how many sessions a user may have on this hub; a new
	// one beyond it replaces the oldest, which is closed with 4500. 1 gives
	// each user a single session, the newest. Defaults to 100. -1: no limit.
	MaxSessionsPerUser int
	// MaxPending is how many messages, ordered but not yet stored, may wait
	// in this process. Defaults to 16,384, at least 2. Beyond it: error busy.
	// A single room may have half of them.
	MaxPending int
	// MaxPendingBytes is the same in bytes of messages. Defaults to 64 MiB, at
	// least MaxBody and 1,024.
	MaxPendingBytes int64
	// ReplayLimit is how many messages a join with "since" replays at most.
	// Defaults to 500.
	ReplayLimit int
	// JoinReplay is how many messages a join without "since" replays.
	// Defaults to 20. -1: none.
	JoinReplay int

	// PingInterval is how long a connection may be silent before it is
	// pinged; after twice that it is closed with 4003. Defaults to 25 s. The
	// least, as for the four times below, is 10 ms.
	PingInterval time.Duration
	// WriteTimeout is how long a client may take to accept 16 KiB before it
	// is cut off as a slow consumer, within the two seconds that follow. What
	// the process itself stood still for does not count. Defaults to 10 s.
	WriteTimeout time.Duration
	// FirstFrameTimeout is how long a new session may send no frame at all,
	// pongs aside, before it is closed with 4003: what connects and is not a
	// client shall not stay. A session that the program has joined to a room,
	// with Hub.Join, may listen for ever. Defaults to 1 min. -1: no limit.
	FirstFrameTimeout time.Duration
	// CloseTimeout is how long a closing connection may take to say goodbye.
	// Defaults to 5 s.
	CloseTimeout time.Duration

	// DrainTime is how long Shutdown takes for moving clients to other nodes.
	// They are told, all at once, to go within its first half, one after the
	// other; each has the other half to do so, and is closed then if it is
	// still here. Defaults to 10 s, and is never more than half of what
	// Shutdown's context allows; Shutdown does not wait longer than there are
	// sessions. -1: none, all are closed at once.
	DrainTime time.Duration

	// Observer is told what happens. Its zero value observes nothing.
	Observer Observer
	// Logger takes what an operator should know; bodies, tickets and cookies are
	// never logged. Debug has a line for every session and every refused
	// handshake; from Info on it is safe to run under load. Defaults to slog.Default().
	Logger *slog.Logger
}

func (c Config) resolve() (Config, error) {
	if c.Authenticator == nil {
		if !c.AllowAnonymous {
			return c, errors.New("gohub: Config.Authenticator is nil: set it, or say AllowAnonymous")
		}
		c.Authenticator = anonymous{}
	}
	if c.Broker == nil {
		c.Broker = NewMemoryBroker()
	}
	if c.Directory == nil {
		c.Directory, _ = c.Broker.(Directory)
	}
	if c.Route == nil {
		c.Route = RouteByUser
	}
	if c.RateLimiter == nil {
		c.RateLimiter = NewRateLimiter(Rate{Frames: 100, Bytes: 1 << 20})
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Store == nil {
		if _, alone := c.Broker.(*MemoryBroker); !alone {
			c.Logger.Warn("Config.Store is nil, so this hub has a history of its own, in memory: hubs that a Broker joins need a Store that they share")
		}
		c.Store = NewMemoryStore(MemoryStoreOptions{})
	}
	if c.Node == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "node"
		}
		c.Node = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	if u, err := url.Parse(c.URL); c.URL != "" && (err != nil || u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "") {
		return c, fmt.Errorf("gohub: Config.URL is %q: clients need ws://host/path or wss://host/path", c.URL)
	}
	if err := checkOrigins(c.Origins); err != nil {
		return c, err
	}
	ints := []struct {
		name     string
		v        *int
		def, min int
		off      bool // -1 means none
	}{
		{"Weight", &c.Weight, 1, 1, false},
		{"MaxFrame", &c.MaxFrame, 64 << 10, 2 << 10, false},
		{"MaxBody", &c.MaxBody, 0, 1, false}, // its default needs MaxFrame: below
		{"MaxQueue", &c.MaxQueue, 1 << 20, 1 << 10, false},
		{"MaxConns", &c.MaxConns, 0, 1, true},
		{"MaxConnsPerIP", &c.MaxConnsPerIP, 0, 1, true},
		{"MaxRooms", &c.MaxRooms, 100, 1, true},
		{"MaxSessionsPerUser", &c.MaxSessionsPerUser, 100, 1, true},
		{"MaxPending", &c.MaxPending, 16_384, 2, false},
		{"ReplayLimit", &c.ReplayLimit, 500, 1, false},
		{"JoinReplay", &c.JoinReplay, 20, 1, true},
	}
	for _, f := range ints {
		switch {
		case *f.v == 0:
			*f.v = f.def
			if f.name == "MaxBody" {
				*f.v = max(c.MaxFrame-1024, 1)
			}
		case *f.v == -1 && f.off:
			*f.v = 0
		case *f.v < f.min:
			none := ""
			if f.off {
				none = ", or -1 for none"
			}
			return c, fmt.Errorf("gohub: Config.%s is %d: the least is %d%s", f.name, *f.v, f.min, none)
		}
	}
	if c.Weight > 1000 {
		return c, fmt.Errorf("gohub: Config.Weight is %d: at most 1000", c.Weight)
	}
	if c.MaxBody > c.MaxFrame {
		return c, fmt.Errorf("gohub: Config.MaxBody is %d: more than MaxFrame, %d", c.MaxBody, c.MaxFrame)
	}
	if c.MaxPendingBytes == 0 {
		c.MaxPendingBytes = 64 << 20
	}
	if c.MaxPendingBytes < int64(c.MaxBody)+1024 {
		return c, fmt.Errorf("gohub: Config.MaxPendingBytes is %d: the least is MaxBody, %d, and 1024", c.MaxPendingBytes, c.MaxBody)
	}
	rates := []struct {
		name string
		v    *float64
	}{
		{"HandshakeRate", &c.HandshakeRate},
		{"HandshakeRatePerIP", &c.HandshakeRatePerIP},
	}
	for _, f := range rates {
		if *f.v == -1 {
			*f.v = 0
		}
		if !(*f.v >= 0) { // also NaN
			return c, fmt.Errorf("gohub: Config.%s is %v: so many a second, or 0 or -1 for no limit", f.name, *f.v)
		}
	}
	times := []struct {
		name string
		v    *time.Duration
		def  time.Duration
		off  bool // -1 means none
	}{
		{"PingInterval", &c.PingInterval, 25 * time.Second, false},
		{"WriteTimeout", &c.WriteTimeout, 10 * time.Second, false},
		{"CloseTimeout", &c.CloseTimeout, 5 * time.Second, false},
		{"FirstFrameTimeout", &c.FirstFrameTimeout, time.Minute, true},
		{"DrainTime", &c.DrainTime, 10 * time.Second, true},
	}
	for _, f := range times {
		switch {
		case *f.v == 0:
			*f.v = f.def
		case *f.v == -1 && f.off:
			*f.v = 0
		case *f.v < 10*time.Millisecond:
			none := ""
			if f.off {
				none = ", or -1 for none"
			}
			return c, fmt.Errorf("gohub: Config.%s is %v: the least is 10ms%s", f.name, *f.v, none)
		}
	}
	return c, nil
}

// An Identity is who a session is. It comes from the Authenticator alone: at
// the handshake, and again, by a ticket, with "refresh", which changes all of
// it but User, Tenant and Device.
type Identity struct {
	// User is the id that others see and address: 1–63 of A-Z a-z 0-9 . _ : -
	// That is no e-mail address: use your own id.
	User string
	// Name is for people to read. Defaults to User.
	Name string
	// Device tells a user's devices apart: a new session with the same User
	// and Device replaces the old one, on whichever hub of the Directory that
	// is. Empty: every session is its own.
	Device string
	// Tenant separates organisations: users and rooms of one never meet those
	// of another.
	Tenant string
	// ExpiresAt is when the session is closed with 4001 unless refreshed.
	// Zero: never.
	ExpiresAt time.Time
	// Login tells the logins of a user apart, where the Authenticator knows
	// them: [Hub.Revoke] ends what rests on one.
	Login string
	// Rooms lists the rooms that the proof of identity opens, by name or with a
	// "*" at the end, as [ListedRooms] has it. nil: it says nothing of rooms,
	// and all are open; empty: none is. Config.MayJoin may go by something else.
	Rooms []string
	// Claims is what else the Authenticator knows and the program wants to
	// have at hand, in MayJoin or a handler. They are kept as long as the
	// session, so let there be few, and no parts of the request. Nobody may
	// change them. Where a client is sent to another node they go there as
	// JSON: a number is a float64 then, a time a string.
	Claims map[string]any
}

// An Authenticator says who is connecting. It is asked before the WebSocket
// handshake is answered, and by negotiate; it may be called concurrently. To
// choose what the client is told, return an [*Error]: unauthorized (401),
// forbidden (403), rate_limited (429), unavailable (503). Any other error is
// logged at Debug and becomes 401, which asks for another login: where it is
// only that a session cannot be looked up now, return unavailable.
type Authenticator interface {
	Authenticate(r *http.Request) (Identity, error)
}

// AuthenticatorFunc makes an Authenticator of a function.
type AuthenticatorFunc func(r *http.Request) (Identity, error)

// Authenticate calls f.
func (f AuthenticatorFunc) Authenticate(r *http.Request) (Identity, error) { return f(r) }

type anonymous struct{}

func (anonymous) Authenticate(*http.Request) (Identity, error) {
	return Identity{User: "anon-" + NewID()}, nil
}
