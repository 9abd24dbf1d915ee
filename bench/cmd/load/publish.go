package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/gohub/gohub/bench/internal/frame"
)

// A body says when it left, or in an open loop was to leave (nanoseconds on the
// load's own clock), who sent it and the how manieth it is, all at fixed places:
//
//	{"t":"0000000001234567890","s":"00007","n":"0000000042","p":"....."}
const (
	timeAt, timeLen     = 6, 19
	senderAt, senderLen = 32, 5
	numberAt, numberLen = 44, 10
	padAt               = 61
	minBody             = padAt + len(`"}`)
)

var bodyHead = []byte(`{"t":"`)

func newBody(size int) []byte {
	b := fmt.Appendf(nil, `{"t":"%019d","s":"%05d","n":"%010d","p":"`, 0, 0, 0)
	b = append(b, bytes.Repeat([]byte{'x'}, max(0, size-minBody))...)
	return append(b, `"}`...)
}

func bodyTime(body []byte) int64   { return digits(body, timeAt, timeLen) }
func bodySender(body []byte) int   { return int(digits(body, senderAt, senderLen)) }
func bodyNumber(body []byte) int64 { return digits(body, numberAt, numberLen) }

// digits reads a number of so many digits; -1 if b is too short.
func digits(b []byte, at, n int) (v int64) {
	if len(b) < at+n {
		return -1
	}
	for _, d := range b[at : at+n] {
		v = v*10 + int64(d-'0')
	}
	return v
}

// setDigits writes a number over so many bytes.
func setDigits(b []byte, at, n int, v int64) {
	for i := at + n - 1; i >= at; i-- {
		b[i] = byte('0' + v%10)
		v /= 10
	}
}

// publisher makes publish frames in one buffer that it uses again.
type publisher struct {
	dialect
	body []byte
	text []byte // payload
	out  []byte // frame
	id   [16]byte
	run  int64 // makes ids of different runs differ
}

func newPublisher(d dialect, bodySize int) *publisher {
	return &publisher{dialect: d, body: newBody(bodySize), run: time.Now().UnixMicro()}
}

// frame returns the next publish, valid until the next call: number counts
// from 0 in a run, from is when its latency begins, on the load's clock.
func (p *publisher) frame(c *conn, number, from int64) []byte {
	setDigits(p.body, timeAt, timeLen, from)
	setDigits(p.body, senderAt, senderLen, int64(c.sender))
	setDigits(p.body, numberAt, numberLen, number)
	p.text = p.dialect.publish(p.text[:0], c, p, number)
	p.out = frame.AppendClient(p.out[:0], frame.Text, p.text, maskKey)
	return p.out
}

// appendID appends a UUIDv7: this millisecond, then the run and the number
// instead of random bits.
func (p *publisher) appendID(dst []byte, number int64) []byte {
	ms := time.Now().UnixMilli()
	for i := range 6 {
		p.id[i] = byte(ms >> (40 - 8*i))
	}
	p.id[6], p.id[7] = 0x70|byte(p.run>>24)&0xf, byte(p.run>>16)
	p.id[8], p.id[9] = 0x80|byte(p.run>>8)&0x3f, byte(p.run)
	for i := range 6 {
		p.id[10+i] = byte(number >> (40 - 8*i))
	}
	for i, part := range [][]byte{p.id[:4], p.id[4:6], p.id[6:8], p.id[8:10], p.id[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}

func roomName(i int) string { return "bench-" + strconv.Itoa(10000+i) }
