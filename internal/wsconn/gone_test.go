package wsconn

import (
	"crypto/tls"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A peer is gone once it has closed its side, whatever it had sent before.
func TestGone(t *testing.T) {
	linux := runtime.GOOS == "linux"
	for _, way := range []string{overTCP, overUnix, overTLS} {
		for name, c := range map[string]struct {
			says  bool
			ends  func(nc net.Conn)
			gone  bool
			exact bool // known only where the end can be seen behind unread bytes
		}{
			"silent":          {},
			"has said more":   {says: true},
			"closed":          {ends: func(nc net.Conn) { _ = nc.Close() }, gone: true, exact: way == overTLS},
			"said and closed": {says: true, ends: func(nc net.Conn) { _ = nc.Close() }, gone: true, exact: true},
			"closed its side": {ends: closeWrite, gone: true},
			"cut":             {says: true, ends: reset, gone: true},
		} {
			t.Run(way+"/"+name, func(t *testing.T) {
				if c.exact && !linux || !rawReads {
					t.Skip("not known on this system")
				}
				w := &world{t: t, way: way}
				w.listen(t)
				t.Cleanup(func() { _ = w.ln.Close() })
				theirs, err := w.dialer()
				require.NoError(t, err)
				t.Cleanup(func() { cut(theirs) })
				ours, err := w.ln.Accept()
				require.NoError(t, err)
				t.Cleanup(func() { cut(ours) })
				if s, ok := ours.(*tls.Conn); ok {
					done := make(chan error, 1)
					go func() { done <- s.Handshake() }() // ends with theirs
					require.NoError(t, theirs.(*tls.Conn).Handshake())
					require.NoError(t, <-done)
				}
				conn := &Conn{nc: ours}
				require.False(t, conn.Gone())
				if c.says {
					_, err := theirs.Write([]byte("some bytes"))
					require.NoError(t, err)
				}
				if c.ends != nil {
					c.ends(theirs)
				}
				if c.gone {
					eventually(t, "it is gone", conn.Gone)
				} else {
					time.Sleep(20 * time.Millisecond)
					require.False(t, conn.Gone())
				}
				if c.says && name != "cut" {
					b := make([]byte, 10)
					_, err := ours.Read(b)
					require.NoError(t, err)
					require.Equal(t, "some bytes", string(b), "it takes nothing")
				}
			})
		}
	}
}

// closeWrite ends the stream and leaves the other direction open.
func closeWrite(nc net.Conn) {
	if s, ok := nc.(*tls.Conn); ok {
		nc = s.NetConn()
	}
	_ = nc.(interface{ CloseWrite() error }).CloseWrite()
}

// reset has the kernel say that the connection is broken.
func reset(nc net.Conn) {
	if s, ok := nc.(*tls.Conn); ok {
		nc = s.NetConn()
	}
	if s, ok := nc.(*net.TCPConn); ok {
		_ = s.SetLinger(0)
	}
	_ = nc.Close()
}

// Where there is no socket to look at, the peer is there.
func TestGoneWithoutASocket(t *testing.T) {
	a, b := net.Pipe()
	require.NoError(t, b.Close())
	require.False(t, (&Conn{nc: a}).Gone())
	require.NoError(t, a.Close())

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	require.NoError(t, nc.Close())
	require.True(t, (&Conn{nc: nc}).Gone(), "this side has closed it")
}
