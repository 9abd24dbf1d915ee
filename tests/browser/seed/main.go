// Command seed writes messages of the past into the history of examples/chat,
// before its server starts: rooms of a thousand messages, of several days.
//
//	seed DIR/chat.db < messages
//
// Each line of messages is an object: room, sender, text, and, if there is a
// reason, to, kind, and at, in Unix ms (default: one second after the one before). With listed, the sender has
// the room on their list.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/store/sqlite"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(path string) error {
	store, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		return err
	}
	var batch []gohub.Message
	var marks []gohub.Watermark
	at := time.Now().Add(-time.Hour).UnixMilli()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		m := struct {
			Room, Sender, Text, To, Kind string
			At                           int64
			Listed                       bool
		}{Kind: "chat", At: at + 1_000}
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return err
		}
		at = m.At
		body, err := json.Marshal(map[string]string{"text": m.Text})
		if err != nil {
			return err
		}
		batch = append(batch, gohub.Message{
			Room: gohub.RoomID{Name: m.Room}, ID: fmt.Sprintf("00000000-0000-7000-8000-%012x", len(batch)), Seq: at*1_000 + int64(len(batch)%1_000),
			Sender: m.Sender, To: m.To, Kind: m.Kind, Body: body,
		})
		if m.Listed {
			last := batch[len(batch)-1]
			marks = append(marks, gohub.Watermark{Room: last.Room, User: last.Sender, Seen: last.Seq, Delivered: last.Seq, Listing: gohub.ListJoin})
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	for len(batch) > 0 {
		n := min(len(batch), 200)
		if _, err := store.Append(context.Background(), batch[:n]); err != nil {
			return err
		}
		batch = batch[n:]
	}
	if _, err := store.Advance(context.Background(), marks); err != nil {
		return err
	}
	return store.Close()
}
