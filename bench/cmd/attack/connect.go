package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// handshakes opens and closes: in turns with and without credentials, with an
// end of the stream and with a reset.
func handshakes(ctx context.Context, a *attackers) {
	a.paced(ctx, a.scaled(5000), 256, func(i int) {
		query := fmt.Sprintf("user=h%d", i%1000)
		if i%2 == 1 {
			query = "user="
		}
		s, status := a.open(ctx, query, nil)
		if s == nil {
			return // counted
		}
		a.add(1, fmt.Sprintf("HTTP %d", status))
		if i%4 == 0 {
			_ = s.nc.(*net.TCPConn).SetLinger(0)
		}
		_ = s.nc.Close()
	})
}

// tickets asks for them, over connections that are kept, with a long URL.
func tickets(ctx context.Context, a *attackers) {
	pad := strings.Repeat("x", 4<<10)
	const workers = 64
	a.paced(ctx, a.scaled(4000)/10, workers, func(i int) {
		nc, err := a.dial(ctx)
		if err != nil {
			return
		}
		defer func() { _ = nc.Close() }()
		if end, ok := ctx.Deadline(); ok {
			_ = nc.SetDeadline(end.Add(2 * time.Second))
		}
		br := bufio.NewReader(nc)
		for k := range 10 { // ten requests a connection
			if _, err := nc.Write(request(fmt.Sprintf("user=t%d-%d&pad=%s", i, k, pad), "")); err != nil {
				a.add(1, "request: "+cause(err))
				return
			}
			res, err := http.ReadResponse(br, nil)
			if err != nil {
				a.add(1, "answer: "+cause(err))
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			a.add(1, fmt.Sprintf("HTTP %d", res.StatusCode))
		}
	})
}

// padding holds sessions that began with a large header.
func padding(ctx context.Context, a *attackers) {
	headers := strings.Replace(upgradeHeaders, "gohub.v1", "gohub.v1, "+strings.Repeat("x", 256<<10), 1)
	a.hold(ctx, a.scaled(500), func(i int) *session {
		s, _ := a.openWith(ctx, fmt.Sprintf("user=p%d", i), headers, nil)
		return s
	})
}

// hold opens n sessions, 32 at a time, and reads them until ctx ends.
func (a *attackers) hold(ctx context.Context, n int, open func(i int) *session) {
	opened := make(chan *session, n)
	go func() { // ends when all are open, or with ctx
		defer close(opened)
		queue := make(chan int)
		go func() { // the same
			defer close(queue)
			for i := range n {
				select {
				case queue <- i:
				case <-ctx.Done():
					return
				}
			}
		}()
		each(32, func(int) {
			for i := range queue {
				if s := open(i); s != nil {
					opened <- s
				}
			}
		})
	}()
	each(1, func(int) {
		var all []*session
		done := make(chan struct{}, n)
		for s := range opened {
			all = append(all, s)
			go func() { // ends when ctx does, below
				code, err := s.drain()
				a.ended(ctx, code, err)
				done <- struct{}{}
			}()
		}
		a.add(int64(len(all)), "opened")
		<-ctx.Done()
		for _, s := range all {
			_ = s.nc.Close()
		}
		for range all {
			<-done
		}
	})
}

// slowHeaders sends a byte of a request at a time.
func slowHeaders(ctx context.Context, a *attackers) {
	r := request("user=slow", upgradeHeaders)
	a.holdRaw(ctx, a.scaled(2000), func(nc net.Conn, i int) bool {
		_, err := nc.Write(r[i%len(r) : i%len(r)+1])
		return err == nil
	})
}

// halfOpen sends nothing.
func halfOpen(ctx context.Context, a *attackers) {
	a.holdRaw(ctx, a.scaled(10_000), func(net.Conn, int) bool { return true })
}

// arrival is when the i-th of many connects: 2,000 come a second. How fast they
// may come is the business of the attack by handshakes.
func arrival(i int) time.Duration { return time.Duration(i) * time.Second / 2000 }

// holdRaw opens n connections and calls beat for each every second, until
// they are closed or ctx ends.
func (a *attackers) holdRaw(ctx context.Context, n int, beat func(nc net.Conn, i int) bool) {
	each(n, func(i int) {
		if !pause(ctx, arrival(i)) {
			return
		}
		nc, err := a.dial(ctx)
		if err != nil {
			return
		}
		defer func() { _ = nc.Close() }()
		buf := make([]byte, 512)
		answer := ""
		for i := 0; ; i++ {
			if !beat(nc, i) {
				break
			}
			_ = nc.SetReadDeadline(time.Now().Add(time.Second))
			k, err := nc.Read(buf)
			if k > 0 {
				answer, _, _ = strings.Cut(string(buf[:k]), "\r\n")
			}
			if ctx.Err() != nil {
				a.add(1, "open to the end")
				return
			}
			if err != nil && cause(err) != "timeout" {
				break
			}
		}
		a.add(1, "closed by the server"+strings.TrimRight(" "+answer, " "))
	})
}

// slowFrames sends a byte of a frame at a time.
func slowFrames(ctx context.Context, a *attackers) {
	f := text(nil, `{"type":"publish","id":"%s","room":"slow","body":%q}`, newID(), strings.Repeat("x", 4000))
	a.hold(ctx, a.scaled(1000), func(i int) *session {
		s, _ := a.open(ctx, fmt.Sprintf("user=s%d", i), nil)
		if s == nil {
			return nil
		}
		go func() { // ends with the connection
			for k := 0; s.write(f[k%len(f):k%len(f)+1]) == nil && pause(ctx, time.Second); k++ {
			}
		}()
		return s
	})
}

// silent reads nothing, answers nothing, and looks at the end what came.
func silent(ctx context.Context, a *attackers) {
	each(a.scaled(10_000), func(i int) {
		if !pause(ctx, arrival(i)) {
			return
		}
		s, _ := a.open(ctx, fmt.Sprintf("user=q%d", i), nil)
		if s == nil {
			return
		}
		defer func() { _ = s.nc.Close() }()
		for {
			op, p, err := s.next() // pings among them: not answered
			if err != nil || op == 8 && len(p) >= 2 {
				code := 0
				if err == nil {
					code = int(p[0])<<8 | int(p[1])
				}
				a.ended(ctx, code, err)
				return
			}
		}
	})
}

// slowReaders join a room where much is said, and do not read.
func slowReaders(ctx context.Context, a *attackers) {
	speak, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with speak: three who read and write as fast as they may
		each(3, func(i int) {
			s, _ := a.open(speak, fmt.Sprintf("user=speaker%d", i), text(nil, `{"type":"join","room":"busy"}`))
			if s == nil {
				return
			}
			go func() { _, _ = s.drain() }() // ends with the connection
			body := strings.Repeat("x", 8<<10)
			for pause(speak, 12*time.Millisecond) {
				if s.write(text(nil, `{"type":"publish","id":"%s","room":"busy","body":"%s"}`, newID(), body)) != nil {
					return
				}
			}
			_ = s.nc.Close()
		})
	}()
	each(a.scaled(200), func(i int) {
		s, _ := a.open(ctx, fmt.Sprintf("user=r%d", i), text(nil, `{"type":"join","room":"busy"}`))
		if s == nil {
			return
		}
		end, _ := ctx.Deadline()
		most := a.scaled(200)
		pause(ctx, time.Until(end)*time.Duration(most+8*i)/time.Duration(10*most)) // from 10 % to 90 % of the time
		code, err := s.drain()                                                     // what had been sent before; past CloseTimeout there is no goodbye left
		a.ended(ctx, code, err)
	})
}
