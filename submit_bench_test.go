package gohub

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkSubmit is what a publish costs between its decoding and the
// sockets: reserving, ordering, encoding, storing.
func BenchmarkSubmit(b *testing.B) {
	for _, rooms := range []int{1, 1000} {
		b.Run(fmt.Sprintf("rooms=%d", rooms), func(b *testing.B) {
			hub, err := New(Config{AllowAnonymous: true, Logger: slog.New(slog.DiscardHandler)}) // a line of its log would be amid the result's
			require.NoError(b, err)
			ctx := context.Background()
			rs := make([]*room, rooms)
			for i := range rs {
				rs[i], err = hub.acquire(ctx, RoomID{Name: fmt.Sprintf("room-%d", i)})
				require.NoError(b, err)
			}
			body := []byte(`"` + fmt.Sprintf("%0126d", 1) + `"`)
			id := []byte(NewID())
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				copy(id, fmt.Appendf(nil, "%08x", i))
				m := Message{Room: rs[i%rooms].id, ID: string(id), Sender: "alice", Kind: "chat", Body: body}
				if err := hub.submit(ctx, rs[i%rooms], &m, nobody{}); err != nil {
					b.Fatal(err)
				}
			}
			for _, r := range rs {
				hub.release(r)
			}
			require.NoError(b, hub.Shutdown(ctx))
		})
	}
}
