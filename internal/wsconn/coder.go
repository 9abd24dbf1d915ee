package wsconn

import (
	"bufio"
	"net"
	"net/http"

	"github.com/coder/websocket"
)

// A coder is coder/websocket's side of a connection, which reads what quick does
// not: fragments, Close frames, messages of which a part is still to come, and
// whatever is wrong. Most connections never need one, which is 2 KB and a few µs,
// until they end; so it is made by the first that does.
type coder struct {
	ws *websocket.Conn
	br *bufio.Reader // its own; ours to look into
}

// hello is the handshake that coder is shown: it has no other way to make a connection. The
// real one was Accept's.
var hello = &http.Request{
	Method: http.MethodGet, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	Header: http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
	},
}

// coder gives the reader's, on a Conn in place of the socket.
func (c *Conn) coder() *coder {
	if c.slowly == nil {
		br := bufio.NewReaderSize(c, 16)
		ws, err := websocket.Accept(&stage{Conn: c, br: br, header: make(http.Header)}, hello, nil)
		if err != nil { // it is always the same handshake
			panic("wsconn: coder/websocket refuses: " + err.Error())
		}
		ws.SetReadLimit(-1) // the scanner decides, on the declared length
		br.Reset(c)         // coder left an io.MultiReader in between
		c.slowly = &coder{ws, br}
	}
	return c.slowly
}

// ahead reports whether coder has read bytes that it has not made use of.
func (c *Conn) ahead() bool { return c.slowly != nil && c.slowly.br.Buffered() > 0 }

// A stage is the ResponseWriter for hello. Its answer is nobody's.
type stage struct {
	*Conn
	br     *bufio.Reader
	header http.Header
}

func (s *stage) Header() http.Header         { return s.header }
func (s *stage) WriteHeader(int)             {}
func (s *stage) Write(p []byte) (int, error) { return len(p), nil }

// Hijack gives the connection with a small reader and a small writer.
func (s *stage) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return s.Conn, bufio.NewReadWriter(s.br, bufio.NewWriterSize(s.Conn, 128)), nil
}
