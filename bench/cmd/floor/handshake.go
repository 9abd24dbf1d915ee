package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"net"
	"net/url"
	"strconv"
	"time"
)

const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// handshake reads one upgrade request and answers it. Clients here send
// nothing further before the answer.
func handshake(c net.Conn) (query url.Values, err error) {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	n := 0
	for !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
		r, err := c.Read(buf[n:])
		if err != nil {
			return nil, err
		}
		if n += r; n == len(buf) {
			return nil, errors.New("request too long")
		}
	}
	head := buf[:n]
	_, target, _ := bytes.Cut(head, []byte(" "))
	target, _, _ = bytes.Cut(target, []byte(" "))
	u, err := url.ParseRequestURI(string(target))
	if err != nil {
		return nil, err
	}
	_, key, found := bytes.Cut(head, []byte("Sec-WebSocket-Key: "))
	key, _, _ = bytes.Cut(key, []byte("\r\n"))
	if !found {
		return nil, errors.New("no Sec-WebSocket-Key")
	}
	sum := sha1.Sum(append(key, acceptGUID...))
	if _, err := c.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\nSec-WebSocket-Protocol: gohub.v1\r\n\r\n")); err != nil {
		return nil, err
	}
	return u.Query(), c.SetDeadline(time.Time{})
}

// number is a query parameter, or otherwise if it is missing or no number.
func number(q url.Values, name string, otherwise int) int {
	n, err := strconv.Atoi(q.Get(name))
	if err != nil {
		return otherwise
	}
	return n
}
