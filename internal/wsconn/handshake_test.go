package wsconn

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

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
		rec := httptest.NewRecorder()
		_, err := Accept(wrapper{rec}, upgrade(), &Options{})
		require.ErrorIs(t, err, http.ErrNotSupported)
		require.Equal(t, http.StatusNotImplemented, rec.Code)
	})
	t.Run("no key", func(t *testing.T) {
		w := start(t, overTCP, options(), nil)
		p := w.connect()
		p.send([]byte(strings.Replace(fmt.Sprintf(handshake, "/"), "Sec-WebSocket-Key", "X-Key", 1)))
		res, err := http.ReadResponse(p.br, nil)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusBadRequest, res.StatusCode)
		require.ErrorContains(t, <-w.refused, "Sec-WebSocket-Key")
	})
}
