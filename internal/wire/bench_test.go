package wire_test

import (
	"testing"

	"github.com/gohub/gohub/internal/wire"
)

// publishFrame is what a chat client sends: 250 bytes, 128 of them the body.
const publishFrame = `{"type":"publish","id":"0198c5e1-7a3b-7c4d-9e2f-1a2b3c4d5e6f","room":"team:backend-2","kind":"chat","retry":false,` +
	`"body":{"text":"The deploy is done, please check the dashboards before our lunch...","lang":"en","mentions":["u-1024","u-2048"],"v":12}}`

func BenchmarkDecodePublish(b *testing.B) {
	p := []byte(publishFrame)
	var c wire.Command
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if err := wire.Decode(&c, p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendMessage(b *testing.B) {
	m := chat
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = wire.AppendMessage(buf[:0], &m)
	}
	b.SetBytes(int64(len(buf)))
}

// chat is publishFrame once it has been ordered.
var chat = wire.Message{
	ID: "0198c5e1-7a3b-7c4d-9e2f-1a2b3c4d5e6f", Room: "team:backend-2", Sender: "alice", Kind: "chat",
	Seq:  1763779200000000,
	Body: []byte(`{"text":"The deploy is done, please check the dashboards before our lunch...","lang":"en","mentions":["u-1024","u-2048"],"v":12}`),
}
