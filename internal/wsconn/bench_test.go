package wsconn

import (
	"runtime"
	"sync/atomic"
	"testing"
)

// drain reads all that a peer is sent and counts it.
func (p *peer) drain(got *atomic.Int64) {
	go func() { // ends with the connection
		buf := make([]byte, 32<<10)
		for {
			n, err := p.nc.Read(buf)
			got.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
}

// BenchmarkSend is one connection whose peer reads what it is sent.
func BenchmarkSend(b *testing.B) {
	w := start(b, overTCP, options(), nil)
	p, s := w.dial()
	var got atomic.Int64
	p.drain(&got)
	f := text(filler(128))
	b.SetBytes(int64(len(f)))
	b.ReportAllocs()
	sent := int64(0)
	for b.Loop() {
		s.Send(f, false, nil)
		if sent += int64(len(f)); sent&(1<<14-1) < int64(len(f)) {
			for sent-got.Load() > 64<<10 { // the benchmark is about sending, not about being behind
				runtime.Gosched()
			}
		}
	}
	if s.CloseCode() != 0 {
		b.Fatal("closed")
	}
}

// BenchmarkCork is eight frames that leave in one write.
func BenchmarkCork(b *testing.B) {
	w := start(b, overTCP, options(), nil)
	p, s := w.dial()
	var got atomic.Int64
	p.drain(&got)
	f := text(filler(128))
	b.SetBytes(8 * int64(len(f)))
	b.ReportAllocs()
	sent := int64(0)
	for b.Loop() {
		s.Cork()
		for range 8 {
			s.Send(f, false, nil)
		}
		s.Uncork()
		for sent += 8 * int64(len(f)); sent-got.Load() > 64<<10; {
			runtime.Gosched()
		}
	}
}

// BenchmarkFanout is one frame to a thousand connections; one operation is a
// thousand deliveries.
func BenchmarkFanout(b *testing.B) {
	const conns = 1000
	w := start(b, overTCP, options(), nil)
	var got atomic.Int64
	sessions := make([]*session, conns)
	for i := range sessions {
		p, s := w.dial()
		p.drain(&got)
		sessions[i] = s
	}
	f := text(filler(128))
	b.SetBytes(conns * int64(len(f)))
	b.ReportAllocs()
	sent := int64(0)
	for b.Loop() {
		for _, s := range sessions {
			s.Send(f, false, nil)
		}
		for sent += conns * int64(len(f)); sent-got.Load() > 16*conns*int64(len(f)); {
			runtime.Gosched()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/conns, "ns/delivery")
}

// BenchmarkEcho is a message there and back: reading as well.
func BenchmarkEcho(b *testing.B) {
	answer := text(filler(128))
	w := start(b, overTCP, options(), func(s *session, _ bool, _ []byte) { s.Send(answer, false, nil) })
	p, _ := w.dial()
	question, got := clientText(filler(128)), make([]byte, len(answer))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.nc.Write(question); err != nil {
			b.Fatal(err)
		}
		for n := 0; n < len(got); {
			k, err := p.br.Read(got)
			if err != nil {
				b.Fatal(err)
			}
			n += k
		}
	}
}
