package wsconn

import (
	"bufio"
	"bytes"
	"crypto/sha1" //nolint:gosec // the handshake's
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gohub/gohub/internal/pace"
)

// A Refusal is why [Accept] did not answer a handshake with 101. Nothing has
// been written, and the connection is not taken over: the answer is the caller's,
// with this status and these header fields.
type Refusal struct {
	Status int
	Header http.Header // what RFC 6455 wants in such an answer
	Err    error       // a [*HijackError] for 501
}

func (e *Refusal) Error() string { return e.Err.Error() }
func (e *Refusal) Unwrap() error { return e.Err }

// A HijackError says that no ResponseWriter gave the connection up.
type HijackError struct {
	Writer string // the type of the one that should have
	Err    error
}

func (e *HijackError) Error() string { return fmt.Sprintf("hijack %s: %v", e.Writer, e.Err) }
func (e *HijackError) Unwrap() error { return e.Err }

// Accept agrees to a WebSocket handshake (RFC 6455, 4.2). The caller runs Serve in a
// goroutine of its own and calls Finish when that ends.
//
// The 101 goes to the connection itself, not through w: middleware's writers
// may hold a status back until a body comes, and some never let it go once the
// connection is hijacked. It waits for Uncork, so that it and the first frame
// are one write.
func Accept(w http.ResponseWriter, r *http.Request, o *Options) (*Conn, *Refusal) {
	key, no := agree(r)
	if no != nil {
		return nil, no
	}
	nc, rw, failed := hijack(w)
	if failed != nil {
		return nil, &Refusal{Status: http.StatusNotImplemented, Err: failed}
	}
	c := &Conn{o: o, nc: pace.Free(nc), subprotocol: subprotocol(r.Header, o.Subprotocols)} // the hub's frames are paced by itself
	c.in.scan.max = int64(o.MaxMessage)
	_ = c.nc.SetDeadline(time.Time{}) // a Hijacker may have left one
	switch s := c.nc.(type) {         // exact types: a type that embeds one may translate what it carries
	case *net.TCPConn:
		c.raw, _ = s.SyscallConn()
		c.in.tellable = true
	case *net.UnixConn:
		c.raw, _ = s.SyscallConn()
	}
	if !rawReads {
		c.raw = nil
	}
	c.in.init(c)
	// A client that did not wait for the answer has frames in net/http's
	// buffer already.
	if n := rw.Reader.Buffered(); n > 0 {
		b, _ := rw.Reader.Peek(n)
		c.in.preload(b)
	}
	c.answer(switching(key, c.subprotocol, w.Header()))
	return c, nil
}

// agree looks whether r is a handshake, and gives its key.
func agree(r *http.Request) (key string, no *Refusal) {
	keys := r.Header["Sec-Websocket-Key"]
	switch version := r.Header.Get("Sec-WebSocket-Version"); {
	case !r.ProtoAtLeast(1, 1):
		no = refusal(http.StatusUpgradeRequired, "it needs HTTP/1.1 at least, this is %.40q", r.Proto)
		no.Header = upgradeHeader()
	case !names(r.Header["Connection"], "Upgrade"):
		no = refusal(http.StatusUpgradeRequired, "Connection does not say Upgrade: %.40q", r.Header.Get("Connection"))
		no.Header = upgradeHeader()
	case !names(r.Header["Upgrade"], "websocket"):
		no = refusal(http.StatusUpgradeRequired, "Upgrade does not say websocket: %.40q", r.Header.Get("Upgrade"))
		no.Header = upgradeHeader()
	case r.Method != http.MethodGet:
		no = refusal(http.StatusMethodNotAllowed, "the method is %.40q, not GET", r.Method)
		no.Header = http.Header{"Allow": {http.MethodGet}}
	case version != "13":
		no = refusal(http.StatusBadRequest, "Sec-WebSocket-Version is %.40q, not 13", version)
		no.Header = http.Header{"Sec-Websocket-Version": {"13"}}
	case len(keys) != 1 || !validKey(keys[0]):
		no = refusal(http.StatusBadRequest, "Sec-WebSocket-Key is not once 16 bytes in base64: %.40q", r.Header.Get("Sec-WebSocket-Key"))
	default:
		key = keys[0]
	}
	return key, no
}

// upgradeHeader is what a 426 has (RFC 9110, 15.5.22). net/http closes a connection
// whose first Connection is "close".
func upgradeHeader() http.Header {
	return http.Header{"Connection": {"close", "Upgrade"}, "Upgrade": {"websocket"}}
}

func refusal(status int, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Err: fmt.Errorf("not a WebSocket handshake: "+format, args...)}
}

// names reports whether a list of tokens, over one or more header fields, has token in it.
func names(fields []string, token string) bool {
	for _, f := range fields {
		for t := range strings.SplitSeq(f, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

func validKey(key string) bool {
	var b [18]byte // 24 digits are no more
	if len(key) != base64.StdEncoding.EncodedLen(16) {
		return false
	}
	n, err := base64.StdEncoding.Decode(b[:], []byte(key))
	return n == 16 && err == nil
}

// subprotocol is the first of ours that the client offers, as it spells it; or empty. It is a
// copy: a part of the client's header would keep all of that for as long as the session lives.
func subprotocol(h http.Header, ours []string) string {
	for _, p := range ours {
		for _, f := range h["Sec-Websocket-Protocol"] {
			for t := range strings.SplitSeq(f, ",") {
				if t = strings.TrimSpace(t); strings.EqualFold(t, p) {
					return strings.Clone(t)
				}
			}
		}
	}
	return ""
}

// notIn101 are fields that are the handshake's own, and some that middleware may have set
// for a body; a 101 has none.
var notIn101 = map[string]bool{
	"Connection": true, "Upgrade": true, "Sec-Websocket-Accept": true, "Sec-Websocket-Extensions": true,
	"Content-Encoding": true, "Content-Length": true, "Content-Type": true, "Trailer": true, "Transfer-Encoding": true,
}

// norIfNegotiated are these and the program's own choice of a subprotocol.
var norIfNegotiated = func() map[string]bool {
	m := maps.Clone(notIn101)
	m["Sec-Websocket-Protocol"] = true
	return m
}()

// switching is the 101, with what the program has set before, such as cookies, or a subprotocol of
// its own where none of ours was offered.
func switching(key, subprotocol string, program http.Header) []byte {
	b := make([]byte, 0, 256)
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // RFC 6455, 4.2.2; nothing is kept secret by it
	b = base64.StdEncoding.AppendEncode(b, sum[:])
	not := notIn101
	if subprotocol != "" {
		b = append(append(b, "\r\nSec-WebSocket-Protocol: "...), subprotocol...)
		not = norIfNegotiated
	}
	rest := bytes.NewBuffer(append(b, "\r\n"...))
	_ = program.WriteSubset(rest, not)
	return append(rest.Bytes(), "\r\n"...)
}

// hijack takes the connection from the outermost writer that gives it up, so
// that every writer with an opinion hears of it. http.ResponseController gives
// up at the first that has the method; but many look just one level down.
func hijack(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, *HijackError) {
	// Where the innermost cannot, none can: those around it would find out
	// halfway, and some panic.
	inner := w
	for next := unwrap(w); next != nil; next = unwrap(next) {
		inner = next
	}
	if _, ok := inner.(http.Hijacker); !ok {
		return nil, nil, &HijackError{Writer: fmt.Sprintf("%T", inner), Err: http.ErrNotSupported}
	}
	var first *HijackError
	for ; w != nil; w = unwrap(w) {
		hj, ok := w.(http.Hijacker)
		if !ok {
			continue
		}
		nc, rw, err := try(hj)
		if err == nil {
			return nc, rw, nil
		}
		if first == nil {
			first = &HijackError{Writer: fmt.Sprintf("%T", w), Err: err}
		}
	}
	return nil, nil, first
}

// try hijacks. Writers that take what they wrap for a Hijacker, and are wrong,
// panic.
func try(hj http.Hijacker) (nc net.Conn, rw *bufio.ReadWriter, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	nc, rw, err = hj.Hijack()
	if err == nil && (nc == nil || rw == nil) {
		err = errors.New("it gave nothing")
	}
	return nc, rw, err
}

func unwrap(w http.ResponseWriter) http.ResponseWriter {
	if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		return u.Unwrap()
	}
	return nil
}
