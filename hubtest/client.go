package hubtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// A Client is a user's connection to a hub, and what a good client remembers
// beyond it: the last seq of each room, and what was published and is not
// answered yet. [Server.Dial] makes one.
//
// It reads all the time and keeps every frame. An expectation takes the first
// frame that fits and that none has taken before, and leaves those in between
// for others. So the order in which expectations are written does not matter,
// unless they say so.
type Client struct {
	t       testing.TB
	user    string
	dialing dialing

	mu      sync.Mutex // guards what follows
	to      *Server    // where it is connected, or was
	ws      *websocket.Conn
	nc      *conn
	done    chan struct{} // closed when the reader of this connection has ended
	ended   error         // how it ended; nil: it has not
	log     []logged
	news    chan struct{}    // closed at the next change, and replaced
	last    map[string]int64 // the rooms it is in, and the last seq of each
	outbox  []outgoing       // unanswered publishes, oldest first
	refs    int
	asked   []*question // not answered, oldest first
	newest  *question   // the last one; nil: none on this connection
	muted   bool        // frozen or slow: it is not asked whether all has arrived
	welcome Frame
}

type logged struct {
	Frame
	taken string // what the expectation was that took it; "": none has
}

type outgoing struct {
	id     string
	fields map[string]any
	body   []byte // of a binary message
	binary bool
}

// User is the user's id: the name that was given to Dial, unless [As] was.
func (c *Client) User() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.welcome.User
}

// Session is the id of the session, for Hub.Join and the like. A resumed
// client has a new one.
func (c *Client) Session() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.welcome.Session
}

// Last is the seq of the newest message that has come from a room; 0: none.
func (c *Client) Last(room string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last[room]
}

func (c *Client) at() *Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.to
}

// connect connects, up to "welcome".
func (c *Client) connect(s *Server) {
	c.t.Helper()
	ws, nc, err := s.handshake(c.dialing)
	if err != nil {
		c.t.Fatalf("hubtest: %s cannot connect: %v", c.user, err)
	}
	ws.SetReadLimit(-1)
	done := make(chan struct{})
	c.mu.Lock()
	c.to, c.ws, c.nc, c.done, c.ended, c.muted = s, ws, nc, done, nil, false
	c.asked, c.newest = nil, nil
	c.mu.Unlock()
	go func() { // ends with the connection, which end sees to
		defer close(done)
		c.read(ws)
	}()
	f := c.Expect("welcome")
	c.meets(f.User)
	c.mu.Lock()
	c.welcome = f
	c.mu.Unlock()
	s.world.add(c)
}

// meets fails the test if it has logged in as somebody else, and pins who it
// is otherwise.
func (c *Client) meets(welcomed string) {
	c.t.Helper()
	as, resumes := c.dialing.as, c.Session() != ""
	switch {
	case as == nil && welcomed != c.user:
		c.t.Fatalf("hubtest: %s was welcomed as %q. If that is right, say hubtest.As(%[2]q)", c.user, welcomed)
	case as != nil && *as != "" && welcomed != *as && resumes:
		c.t.Fatalf("hubtest: %s was %q before, and has resumed as %q", c.user, *as, welcomed)
	case as != nil && *as != "" && welcomed != *as:
		c.t.Fatalf("hubtest: %s was welcomed as %q, not as %q", c.user, welcomed, *as)
	}
	c.dialing.as = &welcomed
}

// end is the client's cleanup.
func (c *Client) end() {
	c.mu.Lock()
	connected := c.nc != nil
	c.mu.Unlock()
	if connected {
		c.Cut()
	}
}

func (c *Client) read(ws *websocket.Conn) {
	for {
		typ, p, err := ws.Read(context.Background())
		if err != nil {
			_ = ws.CloseNow()
			c.change(func() {
				if c.ended == nil { // or Close has said how
					c.ended = err
				}
			})
			return
		}
		f := decode(typ == websocket.MessageBinary, p)
		c.change(func() {
			c.log = append(c.log, logged{Frame: f})
			c.note(&f)
			c.answers(&f)
		})
	}
}

func (c *Client) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.news)
	c.news = make(chan struct{})
}

// note keeps what Resume needs to know; mu is held.
func (c *Client) note(f *Frame) {
	switch f.Type {
	case "joined":
		c.last[f.Room] = max(c.last[f.Room], 0) // in the room from now on
	case "left":
		delete(c.last, f.Room)
	case "message":
		c.last[f.Room] = max(c.last[f.Room], f.Seq)
	case "ack":
		if _, in := c.last[f.Room]; !in { // a direct room that this publish has joined
			c.last[f.Room] = f.Seq - 1
		}
		c.answered(f.ID)
	case "error":
		if f.ID != "" && f.RetryMS == 0 {
			c.answered(f.ID)
		}
	}
}

func (c *Client) answered(id string) {
	c.outbox = slices.DeleteFunc(c.outbox, func(o outgoing) bool { return o.id == id })
}

// until waits for the first frame that fits and takes it. On the test's
// goroutine only: it fails the test.
func (c *Client) until(what string, fits func(*Frame) bool) Frame {
	c.t.Helper()
	f, err := c.await(what, fits, nil)
	if err != nil {
		c.t.Fatalf("hubtest: %s waited for %s: %v%s", c.user, what, err, c.untaken())
	}
	return f
}

// errImpatient is what await returns when nothing has come in time.
var errImpatient = errors.New("it did not come")

// await is until, with an error. If inVain is given and returns one, nothing
// that fits will come; it is called with mu held.
func (c *Client) await(what string, fits func(*Frame) bool, inVain func() error) (Frame, error) {
	patience := c.at().Patience
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for from := 0; ; {
		c.mu.Lock()
		for ; from < len(c.log); from++ {
			if l := &c.log[from]; l.taken == "" && fits(&l.Frame) {
				l.taken = what
				c.mu.Unlock()
				return l.Frame, nil
			}
		}
		news, err := c.news, error(nil)
		if inVain != nil {
			err = inVain()
		}
		if err == nil && c.ended != nil {
			err = fmt.Errorf("the connection has ended, %s", ending(c.ended))
		}
		c.mu.Unlock()
		if err == nil {
			select {
			case <-news:
				continue
			case <-timer.C:
				err = fmt.Errorf("%w in %v", errImpatient, patience)
			}
		}
		return Frame{}, c.alike(err, fits)
	}
}

// alike adds to err that what was waited for had come, and was taken.
func (c *Client) alike(err error, fits func(*Frame) bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.log {
		if l := &c.log[i]; l.taken != "" && fits(&l.Frame) {
			return fmt.Errorf("%w\nOne like it had come, and was taken when %s was expected:\n\t%s", err, l.taken, l.Frame)
		}
	}
	return err
}

// ending tells how a connection ended.
func ending(err error) string {
	var ce websocket.CloseError
	if errors.As(err, &ce) {
		return fmt.Sprintf("closed with %d %q", ce.Code, ce.Reason)
	}
	return fmt.Sprintf("without a Close frame: %v", err)
}

// untaken lists what has come and nobody expected, for failures.
func (c *Client) untaken() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	also := ""
	if c.muted {
		also = fmt.Sprintf("\n%s reads little, or nothing: see Freeze and Slow.", c.user)
	}
	const most = 10
	var lines []string
	n := 0
	for i := len(c.log) - 1; i >= 0; i-- {
		if c.log[i].taken != "" {
			continue
		}
		if n++; n <= most {
			lines = append(lines, "\n\t"+c.log[i].String())
		}
	}
	if n == 0 {
		return "\nNothing has come that was not expected." + also
	}
	slices.Reverse(lines)
	if n > most {
		return fmt.Sprintf("\nThese are the last %d of %d that came and were not expected:%s", most, n, strings.Join(lines, "")+also)
	}
	return "\nThese came and were not expected:" + strings.Join(lines, "") + also
}

// write sends one WebSocket message.
func (c *Client) write(binary bool, p []byte) error {
	c.mu.Lock()
	ws, ended := c.ws, c.ended
	c.mu.Unlock()
	if ended != nil {
		return fmt.Errorf("the connection has ended, %s", ending(ended))
	}
	typ := websocket.MessageText
	if binary {
		typ = websocket.MessageBinary
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.at().Patience)
	defer cancel()
	return ws.Write(ctx, typ, p)
}

// send sends a frame made of type and fields.
func (c *Client) send(typ string, fields map[string]any) error {
	fields["type"] = typ
	p, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	return c.write(false, p)
}

// ask sends a frame with a ref of its own and takes the answer to it: one of
// that type, or an error.
func (c *Client) ask(typ, answer string, fields map[string]any) (Frame, error) {
	c.mu.Lock()
	c.refs++
	ref := "hubtest-" + strconv.Itoa(c.refs)
	c.mu.Unlock()
	fields["ref"] = ref
	if err := c.send(typ, fields); err != nil {
		return Frame{}, err
	}
	f, err := c.await("the answer to "+typ, func(f *Frame) bool {
		return (f.Type == answer || f.Type == "error") && string(f.Ref) == strconv.Quote(ref)
	}, nil)
	if err == nil && f.Type == "error" {
		err = fmt.Errorf("refused with %s", f)
	}
	return f, err
}

// settle returns when everything that the clients have sent has been done,
// and what came of it has arrived. Where time is virtual that is exact.
// Elsewhere each client asks the hub for a pong, which comes after it.
func (c *Client) settle() {
	c.t.Helper()
	s := c.at()
	if s.virtual {
		synctest.Wait()
		return
	}
	others := slices.DeleteFunc(s.world.all(), func(o *Client) bool { return o == c })
	for _, o := range append(others, c) {
		if !o.reachable() {
			continue
		}
		if _, err := o.ask("ping", "pong", map[string]any{}); o == c && errors.Is(err, errImpatient) {
			c.t.Fatalf("hubtest: %s waited for a pong: %v%s", c.user, err, c.untaken())
		}
	}
}

func (c *Client) reachable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ws != nil && c.ended == nil && !c.muted
}
