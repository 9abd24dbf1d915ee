package wsconn

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

// wrapper is middleware's ResponseWriter.
type wrapper struct{ http.ResponseWriter }

func (w wrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// inEveryWay runs a test over each kind of connection; over net.Pipe in a
// bubble of virtual time.
func inEveryWay(t *testing.T, f func(t *testing.T, way string)) {
	for _, way := range everyWay {
		t.Run(way, func(t *testing.T) {
			if way == overPipe {
				synctest.Test(t, func(t *testing.T) { f(t, way) })
				return
			}
			f(t, way)
		})
	}
}

func TestHandshake(t *testing.T) {
	inEveryWay(t, func(t *testing.T, way string) {
		o := options()
		o.Subprotocols = []string{"gohub.v1"}
		w := start(t, way, o, echo)
		p, s := w.dial()
		require.Equal(t, "gohub.v1", s.Subprotocol())
		require.Equal(t, way == overTCP || way == overUnix, s.raw != nil)
		require.Zero(t, s.preloaded)
		p.send(clientText("hello"), clientFrame(opBinary, true, []byte("bytes")), clientText(""))
		p.expect(opText, "hello")
		p.expect(opBinary, "bytes")
		p.expect(opText, "")
		p.send(clientFrame(opClose, true, nil))
		p.expect(opClose, "")
		p.expectEnd()
		require.ErrorIs(t, s.ended(t), ErrLatched)
	})
}

// A listener that paces handshakes is not there any more afterwards.
func TestPacedConnectionsAreAsAnyOther(t *testing.T) {
	w := start(t, overPaced, options(), echo)
	p, s := w.dial()
	require.Equal(t, rawReads, s.raw != nil)
	require.IsType(t, new(net.TCPConn), s.nc)
	p.send(clientText("hello"))
	p.expect(opText, "hello")
}

// What is sent before Uncork leaves with the answer to the handshake: one write
// on a socket that can be tried.
func TestFirstFrameWithTheAnswer(t *testing.T) {
	inEveryWay(t, func(t *testing.T, way string) {
		w := start(t, way, options(), echo)
		w.first = frame(opText, "welcome")
		p, s := w.dial()
		p.expect(opText, "welcome")
		if s.raw != nil {
			require.EqualValues(t, 1, w.writes.Load())
		}
	})
}

// Whoever is cut off before the answer has left gets it whole all the same.
func TestAnswerIsNotCutOff(t *testing.T) {
	here, there := net.Pipe()
	defer func() { _ = here.Close(); _ = there.Close() }()
	o := options()
	c := &Conn{o: &o, nc: here}
	c.out.writing = true // nobody writes: all of it stays in the queue
	c.answer([]byte("101"))
	c.Send(frame(opText, "welcome"), false, nil)
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	require.True(t, c.latch(slowCode, "", true))
	require.Len(t, c.out.queue, 2)
	require.Equal(t, "101", string(c.out.queue[0].b))
	require.Equal(t, "\x88\x02\x0f\xa0", string(c.out.queue[1].b))
}

// What a client sends without waiting for the answer is in net/http's buffer
// when the connection is hijacked.
func TestFramesWithTheHandshake(t *testing.T) {
	inEveryWay(t, func(t *testing.T, way string) {
		w := start(t, way, options(), echo)
		last := clientText("last")
		p, s := w.dial(clientText("first"), clientFrame(opPing, true, []byte("ping")), clientText(filler(1500)), last[:7])
		require.Positive(t, s.preloaded, "not what this test is about")
		p.expect(opText, "first")
		p.expect(opPong, "ping")
		p.expect(opText, filler(1500))
		p.send(last[7:])
		p.expect(opText, "last")
	})
}

func TestUnwrap(t *testing.T) {
	w := start(t, overTCP, options(), echo)
	w.wrap = func(rw http.ResponseWriter) http.ResponseWriter { return wrapper{wrapper{rw}} }
	p, _ := w.dial(clientText("one"))
	p.expect(opText, "one")
}

// Middleware's writers as they come. The server's own is below them.
type (
	opaque       struct{ http.ResponseWriter } // no Hijack, no Unwrap
	cannot       struct{ http.ResponseWriter } // has Hijack for those who ask whether it has
	believer     struct{ http.ResponseWriter } // takes what it wraps for a Hijacker
	unwrapping   struct{ http.ResponseWriter } // the same with Unwrap
	holding      struct{ wrapper }             // keeps a status for a body that never comes
	givesNothing struct{ opaque }
)

func (cannot) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errors.New("not today") }

func (w believer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.ResponseWriter.(http.Hijacker).Hijack()
}

func (w unwrapping) Hijack() (net.Conn, *bufio.ReadWriter, error) { return believer(w).Hijack() }

func (w unwrapping) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (holding) WriteHeader(int) {}

func (givesNothing) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, nil }

func TestWrappersThatWork(t *testing.T) {
	for name, wrap := range map[string]func(w http.ResponseWriter) http.ResponseWriter{
		"holds the status back":           func(w http.ResponseWriter) http.ResponseWriter { return holding{wrapper{w}} },
		"hijacks one level down":          func(w http.ResponseWriter) http.ResponseWriter { return believer{w} },
		"panics, and can be looked under": func(w http.ResponseWriter) http.ResponseWriter { return unwrapping{wrapper{w}} },
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, overTCP, options(), echo)
			w.wrap = wrap
			p, _ := w.dial(clientText("one"))
			p.expect(opText, "one")
		})
	}
}

// The answer has the program's header fields, and none that speak of a body.
func TestHeaderOf101(t *testing.T) {
	o := options()
	o.Subprotocols = []string{"gohub.v1"}
	w := start(t, overTCP, o, echo)
	w.wrap = func(rw http.ResponseWriter) http.ResponseWriter {
		for _, f := range [][2]string{
			{"Set-Cookie", "a=1"},
			{"Set-Cookie", "b=2"},
			{"X-Split", "a\r\nEvil: b"},
			{"Content-Encoding", "gzip"},
			{"Content-Length", "7"},
			{"Content-Type", "text/html"},
			{"Transfer-Encoding", "chunked"},
			{"Upgrade", "h2c"},
			{"Connection", "close"},
			{"Sec-WebSocket-Accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="},
			{"Sec-WebSocket-Extensions", "permessage-deflate"},
			{"Sec-WebSocket-Protocol", "another"},
		} {
			rw.Header().Add(f[0], f[1])
		}
		return rw
	}
	p := w.connect()
	p.send(fmt.Appendf(nil, handshake, "/"))
	res, err := http.ReadResponse(p.br, nil)
	require.NoError(t, err)
	_ = res.Body.Close()
	require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
	require.Equal(t, http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Protocol": {"gohub.v1"},
		"Sec-Websocket-Accept": {"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="},
		"Set-Cookie":           {"a=1", "b=2"}, "X-Split": {"a  Evil: b"},
	}, res.Header)
	<-w.accepted
}

// A browser that offers what is none of the hub's, a token for example, fails the connection
// unless one of that is chosen: the program may.
func TestProgramsSubprotocol(t *testing.T) {
	o := options()
	o.Subprotocols = []string{"gohub.v1"}
	w := start(t, overTCP, o, echo)
	w.wrap = func(rw http.ResponseWriter) http.ResponseWriter {
		rw.Header().Set("Sec-WebSocket-Protocol", "bearer")
		return rw
	}
	p := w.connect()
	p.send(fmt.Appendf(nil, strings.Replace(handshake, "gohub.v1", "bearer, abc", 1), "/"))
	res, err := http.ReadResponse(p.br, nil)
	require.NoError(t, err)
	_ = res.Body.Close()
	require.Equal(t, []string{"bearer"}, res.Header["Sec-Websocket-Protocol"])
	require.Empty(t, (<-w.accepted).Subprotocol())
}

func TestRefusals(t *testing.T) {
	upgrade := func() *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Sec-WebSocket-Version", "13")
		r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
		return r
	}
	t.Run("cannot be hijacked", func(t *testing.T) {
		for name, c := range map[string]struct {
			w      http.ResponseWriter
			writer string
			is     string
		}{
			"by nobody":             {wrapper{httptest.NewRecorder()}, "*httptest.ResponseRecorder", "not supported"},
			"the outer one forgets": {wrapper{opaque{hijackOf{}}}, "wsconn.opaque", "not supported"},
			"the outer one says so": {cannot{wrapper{httptest.NewRecorder()}}, "wsconn.cannot", "not today"},
			"the outer one panics":  {believer{wrapper{httptest.NewRecorder()}}, "wsconn.believer", "panic: "},
			"all of them fail":      {unwrapping{wrapper{cannot{}}}, "wsconn.unwrapping", "panic: "},
			"it gives nothing":      {givesNothing{}, "wsconn.givesNothing", "it gave nothing"},
		} {
			t.Run(name, func(t *testing.T) {
				_, no := Accept(c.w, upgrade(), &Options{})
				require.NotNil(t, no)
				require.Equal(t, http.StatusNotImplemented, no.Status)
				require.Empty(t, no.Header, "what belongs to 101")
				var failed *HijackError
				require.ErrorAs(t, no, &failed)
				require.Equal(t, c.writer, failed.Writer)
				require.ErrorContains(t, no, c.is)
			})
		}
	})
	t.Run("not a handshake", func(t *testing.T) {
		for name, c := range map[string]struct {
			change func(r *http.Request)
			status int
			header http.Header
			is     string
		}{
			"no key":      {func(r *http.Request) { r.Header.Del("Sec-WebSocket-Key") }, 400, nil, "Sec-WebSocket-Key"},
			"old version": {func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") }, 400, http.Header{"Sec-Websocket-Version": {"13"}}, "Sec-WebSocket-Version"},
			"HTTP/1.0":    {func(r *http.Request) { r.ProtoMinor = 0 }, 426, upgradeHeader(), "HTTP/1.1"},
			"two keys":    {func(r *http.Request) { r.Header.Add("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==") }, 400, nil, "Sec-WebSocket-Key"},
			"POST":        {func(r *http.Request) { r.Method = http.MethodPost }, 405, http.Header{"Allow": {"GET"}}, "POST"},
			"no Upgrade": {
				func(r *http.Request) { r.Header.Set("Upgrade", "h2c") }, 426,
				http.Header{"Connection": {"close", "Upgrade"}, "Upgrade": {"websocket"}},
				"Upgrade",
			},
			"no Connection": {
				func(r *http.Request) { r.Header.Del("Connection") }, 426,
				http.Header{"Connection": {"close", "Upgrade"}, "Upgrade": {"websocket"}},
				"Connection",
			},
		} {
			t.Run(name, func(t *testing.T) {
				rec, r := httptest.NewRecorder(), upgrade()
				c.change(r)
				_, no := Accept(rec, r, &Options{})
				require.NotNil(t, no)
				require.Equal(t, c.status, no.Status)
				require.Equal(t, c.header, no.Header)
				require.ErrorContains(t, no, c.is)
				require.Zero(t, rec.Body.Len(), "the answer is the caller's")
			})
		}
	})
}

// late is a Hijacker that leaves deadlines, as a server with timeouts may.
type late struct{ wrapper }

func (w late) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := w.ResponseWriter.(http.Hijacker).Hijack()
	if err == nil {
		err = nc.SetDeadline(longAgo)
	}
	return nc, rw, err
}

// Deadlines that a Hijacker has left are not the session's.
func TestHijackersDeadlines(t *testing.T) {
	inEveryWay(t, func(t *testing.T, way string) {
		w := start(t, way, options(), echo)
		w.wrap = func(rw http.ResponseWriter) http.ResponseWriter { return late{wrapper{rw}} }
		p, _ := w.dial()
		p.send(clientText("hello"))
		p.expect(opText, "hello")
	})
}

// FuzzHandshake holds what is agreed to against what coder/websocket would say to the same
// request.
func FuzzHandshake(f *testing.F) {
	f.Add("GET", "HTTP/1.1", "Upgrade", "websocket", "13", "dGhlIHNhbXBsZSBub25jZQ==", "gohub.v1")
	f.Add("GET", "HTTP/1.1", "keep-alive, upgrade", "h2c,\tWebSocket ", "13", "dGhlIHNhbXBsZSBub25jZQ==", "other, GoHub.V2 ,gohub.v1")
	f.Add("POST", "HTTP/1.0", "close", "", "8", "dGhlIHNhbXBsZSBub25jZR==", "")
	f.Add("GET", "HTTP/2.0", "Upgrade", "websocket", "13", "dGhlIHNhbXBsZSBub25jZQ=", ",,")
	f.Fuzz(func(t *testing.T, method, proto, connection, upgrade, version, key, protocols string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		var ok bool
		if r.ProtoMajor, r.ProtoMinor, ok = http.ParseHTTPVersion(proto); !ok {
			return
		}
		r.Method, r.Proto = method, proto
		for k, v := range map[string]string{
			"Connection": connection, "Upgrade": upgrade, "Sec-Websocket-Version": version, "Sec-Websocket-Key": key, "Sec-Websocket-Protocol": protocols,
		} {
			v = strings.Trim(v, " \t") // as net/http does
			if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r > '~' }) {
				return // which it refuses, or no client says
			}
			if v != "" {
				r.Header[k] = []string{v}
			}
		}
		ours := []string{"gohub.v2", "gohub.v1"}
		theirs := httptest.NewRecorder()
		_, _ = websocket.Accept(hijackNothing{theirs}, r, &websocket.AcceptOptions{Subprotocols: ours, InsecureSkipVerify: true})
		said, no := agree(r)
		if no != nil {
			require.Equal(t, theirs.Code, no.Status)
			return
		}
		require.Equal(t, http.StatusSwitchingProtocols, theirs.Code)
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(switching(said, subprotocol(r.Header, ours), nil))), nil)
		require.NoError(t, err)
		_ = res.Body.Close()
		require.Equal(t, theirs.Result().Header, res.Header)
	})
}

// hijackNothing is asked only when the answer has been given.
type hijackNothing struct{ *httptest.ResponseRecorder }

func (hijackNothing) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errors.New("no") }
