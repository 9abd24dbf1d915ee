package wsconn

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/gohub/gohub/internal/pace"
)

// A Refusal is why [Accept] did not answer a handshake with 101. Nothing has
// been written: the answer is the caller's, with this status and these header
// fields.
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

// Accept agrees to a WebSocket handshake. The caller runs Serve in a goroutine of
// its own and calls Finish when that ends. An error is a [*Refusal], which is
// the caller's to answer with; any other: the connection was had, and is closed.
//
// The 101 goes to the connection itself, not through w: middleware's writers
// may hold a status back until a body comes, and some never let it go once the
// connection is hijacked. It waits for Uncork, so that it and the first frame
// are one write.
func Accept(w http.ResponseWriter, r *http.Request, o *Options) (*Conn, error) {
	c := &Conn{o: o}
	c.in.scan.max = int64(o.MaxMessage)
	h := &handshaker{w: w, c: c, header: make(http.Header)}
	ws, err := websocket.Accept(h, r, &websocket.AcceptOptions{
		Subprotocols:       o.Subprotocols,
		InsecureSkipVerify: true, // the hub has checked the origin
	})
	if err != nil {
		return nil, h.refusal(err)
	}
	c.ws = ws
	ws.SetReadLimit(-1) // the scanner decides, on the declared length
	c.br.Reset(c)       // coder left an io.MultiReader in between
	return c, nil
}

// A handshaker is the ResponseWriter that coder gets. It keeps what coder says,
// so that nothing is said before it is known that the connection can be had.
// The connection that it gives is ours in place of net/http's, with a small
// reader and a small writer in place of net/http's 4 KiB each.
type handshaker struct {
	w      http.ResponseWriter
	c      *Conn
	header http.Header
	status int
	failed *HijackError
}

// refusal is what Accept says of coder's error.
func (h *handshaker) refusal(err error) error {
	switch {
	case h.c.nc != nil: // coder has no such error now
		_ = h.c.nc.Close()
		return err
	case h.failed != nil:
		return &Refusal{Status: http.StatusNotImplemented, Err: h.failed}
	}
	for _, k := range []string{"Content-Type", "X-Content-Type-Options"} { // of a text that is not sent
		h.header.Del(k)
	}
	return &Refusal{Status: h.status, Header: h.header, Err: err}
}

// Header is coder's part of the answer.
func (h *handshaker) Header() http.Header { return h.header }

// WriteHeader remembers the first status.
func (h *handshaker) WriteHeader(status int) {
	if h.status == 0 {
		h.status = status
	}
}

// Write throws the text of a refusal away: coder returns it as an error, too.
func (h *handshaker) Write(p []byte) (int, error) { return len(p), nil }

// Hijack is called by coder once it has agreed to the handshake.
func (h *handshaker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, failed := hijack(h.w)
	if failed != nil {
		h.failed = failed
		return nil, nil, failed
	}
	// coder keeps what it reads here next for as long as the connection lives.
	// It is a part of the client's header, and would keep all of that.
	if p := h.header.Get("Sec-WebSocket-Protocol"); p != "" {
		h.header.Set("Sec-WebSocket-Protocol", strings.Clone(p))
	}
	nc = pace.Free(nc) // the hub's frames are paced by itself
	c := h.c
	c.nc = nc
	_ = nc.SetDeadline(time.Time{}) // a Hijacker may have left one
	switch s := nc.(type) {         // exact types: a type that embeds one may translate what it carries
	case *net.TCPConn:
		if c.raw, _ = s.SyscallConn(); c.raw != nil {
			_ = c.raw.Control(tellsMore)
		}
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
	c.answer(h.answer())
	c.br = bufio.NewReaderSize(c, 16)
	return c, bufio.NewReadWriter(c.br, bufio.NewWriterSize(c, 128)), nil
}

// ofBodies are fields that middleware may have set for a body; a 101 has none.
var ofBodies = map[string]bool{
	"Content-Encoding": true, "Content-Length": true, "Content-Type": true, "Trailer": true, "Transfer-Encoding": true,
}

// answer is the 101 with coder's header fields and what the program had set
// before, such as cookies.
func (h *handshaker) answer() []byte {
	for k, v := range h.w.Header() {
		if _, coders := h.header[k]; !coders && !ofBodies[k] {
			h.header[k] = v
		}
	}
	b := bytes.NewBuffer(make([]byte, 0, 512))
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = h.header.Write(b)
	b.WriteString("\r\n")
	return b.Bytes()
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
