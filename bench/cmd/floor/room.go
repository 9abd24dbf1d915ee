package main

import (
	"bytes"
	"strings"
	"sync"
	"time"

	"github.com/gohub/gohub/bench/internal/frame"
)

// flushAfter bounds how long a broadcast waits for its batch to fill.
const flushAfter = 20 * time.Millisecond

// room sends what is published to its members, in one loop on the publisher's
// own goroutine.
type room struct {
	mu      sync.Mutex // protects the rest
	members []*conn
	sample  []byte // one finished frame: id and body are copied into it
	idAt    int
	bodyAt  int
	batch   int
	out     []byte // frames that wait for the batch to fill
	waiting int
	timer   *time.Timer // flushes a batch that does not fill; nil when batch is 1
}

const idBytes = 36

// newRoom encodes the frame beforehand, as gohub writes it and size payload
// bytes long (0: as long as it comes).
func newRoom(name string, batch, size, body int) *room {
	head := `{"type":"message","id":"` + strings.Repeat("0", idBytes) + `","room":"` + name +
		`","seq":1790000000000000,"sender":"u0","kind":"chat","body":`
	payload := head + strings.Repeat(" ", body)
	payload += strings.Repeat(" ", max(0, size-len(payload)-1)) + "}"
	r := &room{batch: batch, sample: frame.AppendServer(nil, frame.Text, []byte(payload))}
	start := len(r.sample) - len(payload)
	r.idAt, r.bodyAt = start+strings.Index(head, "0000"), start+len(head)
	if batch > 1 {
		r.timer = time.AfterFunc(time.Hour, r.flushLate)
		r.timer.Stop()
	}
	return r
}

func (r *room) join(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members = append(r.members, c)
}

func (r *room) leave(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(c)
}

func (r *room) drop(c *conn) {
	for i, m := range r.members {
		if m == c {
			r.members = append(r.members[:i], r.members[i+1:]...)
			return
		}
	}
}

// publish takes a client's frame whose last field is a body of so many bytes.
func (r *room) publish(payload []byte, body int) {
	i := bytes.Index(payload, []byte(`"id":"`))
	if i < 0 || i+6+idBytes > len(payload) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	copy(r.sample[r.idAt:], payload[i+6:i+6+idBytes])
	copy(r.sample[r.bodyAt:], payload[len(payload)-1-body:len(payload)-1])
	if r.batch <= 1 {
		r.send(r.sample)
		return
	}
	r.out = append(r.out, r.sample...)
	r.waiting++
	if r.waiting >= r.batch {
		r.flush()
	} else if r.waiting == 1 {
		r.timer.Reset(flushAfter)
	}
}

func (r *room) flushLate() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flush()
}

func (r *room) flush() {
	if r.waiting > 0 {
		r.send(r.out)
		r.out, r.waiting = r.out[:0], 0
	}
}

// send writes b to every member; one that cannot take it is closed.
func (r *room) send(b []byte) {
	var lost []*conn
	for _, m := range r.members {
		if m.write(b) != nil {
			lost = append(lost, m)
		}
	}
	for _, m := range lost {
		r.drop(m)
		_ = m.tcp.Close() // wakes its reader, which ends
	}
}
