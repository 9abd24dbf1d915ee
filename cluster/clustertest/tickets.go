package clustertest

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gohub/gohub"
)

// RunTickets tests how a [gohub.Directory] keeps tickets, as subtests of t.
func RunTickets(t *testing.T, open OpenDirectory) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(t *testing.T, a, b gohub.Directory)
	}{
		{"TakenOnce", func(t *testing.T, a, b gohub.Directory) {
			id, text := rand.Text(), "\x00any bytes\xff"
			put(t, a, id, text, time.Minute)
			wantTicket(t, b, id, text)
			wantTicket(t, b, id, "")
			wantTicket(t, a, id, "")
		}},
		{"TakenWhereItWasPut", func(t *testing.T, a, b gohub.Directory) {
			id := rand.Text()
			put(t, a, id, "1", time.Minute)
			wantTicket(t, a, id, "1")
			wantTicket(t, b, id, "")
		}},
		{"NeverPut", func(t *testing.T, a, _ gohub.Directory) {
			put(t, a, rand.Text(), "another", time.Minute)
			wantTicket(t, a, rand.Text(), "")
		}},
		{"Late", func(t *testing.T, a, b gohub.Directory) {
			id, later := rand.Text(), rand.Text()
			put(t, a, id, "1", 50*time.Millisecond)
			put(t, a, later, "2", time.Minute)
			time.Sleep(60 * time.Millisecond)
			wantTicket(t, b, id, "")
			wantTicket(t, b, later, "2")
		}},
		{"OneOfMany", func(t *testing.T, a, b gohub.Directory) {
			for range 20 {
				id := rand.Text()
				put(t, a, id, "1", time.Minute)
				var got atomic.Int64
				var wg sync.WaitGroup
				for i := range 8 {
					d := a
					if i%2 == 1 {
						d = b
					}
					wg.Go(func() {
						if b, err := d.TakeTicket(t.Context(), id); b != nil && err == nil {
							got.Add(1)
						}
					})
				}
				wg.Wait()
				if got.Load() != 1 {
					t.Fatalf("a ticket was taken %d times", got.Load())
				}
			}
		}},
		{"Cancelled", func(t *testing.T, a, _ gohub.Directory) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := a.PutTicket(ctx, rand.Text(), nil, time.Minute); !errors.Is(err, gohub.ErrUnavailable) {
				t.Errorf("PutTicket with a cancelled context: %v, want ErrUnavailable", err)
			}
			if _, err := a.TakeTicket(ctx, rand.Text()); !errors.Is(err, gohub.ErrUnavailable) {
				t.Errorf("TakeTicket with a cancelled context: %v, want ErrUnavailable", err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			join := open(t)
			c.run(t, join(), join())
		})
	}
}

func put(t *testing.T, d gohub.Directory, id, text string, life time.Duration) {
	t.Helper()
	if err := d.PutTicket(t.Context(), id, []byte(text), life); err != nil {
		t.Fatalf("PutTicket: %v", err)
	}
}

// wantTicket takes a ticket; "" says that there is none.
func wantTicket(t *testing.T, d gohub.Directory, id, want string) {
	t.Helper()
	got, err := d.TakeTicket(t.Context(), id)
	if err != nil || string(got) != want || want == "" && got != nil {
		t.Fatalf("TakeTicket: got %q, %v, want %q", got, err, want)
	}
}
