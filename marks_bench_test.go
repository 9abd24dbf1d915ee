package gohub

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
)

// What a receipt costs that concerns the author of a room's last message, or
// the authors of many.
func BenchmarkReceipts(b *testing.B) {
	for _, authors := range []int{1, 30} {
		b.Run(fmt.Sprint(authors, " authors"), func(b *testing.B) {
			h, err := New(Config{AllowAnonymous: true, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = h.Shutdown(context.Background()) })
			id := RoomID{Name: "r"}
			r, err := h.acquire(b.Context(), id)
			if err != nil {
				b.Fatal(err)
			}
			defer h.release(r)
			var last int64
			for i := range ringKeep {
				m, err := h.Publish(b.Context(), Message{Room: id, Sender: fmt.Sprint("user", i%authors), Body: []byte(`1`)})
				if err != nil {
					b.Fatal(err)
				}
				last = m.Seq
			}
			b.ReportAllocs()
			for b.Loop() {
				h.tellReceipt(b.Context(), Watermark{Room: id, User: "reader", Delivered: last, Seen: last}, "session")
			}
		})
	}
}
