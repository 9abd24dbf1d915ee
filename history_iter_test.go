package gohub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

func TestHubHistory(t *testing.T) {
	store := newSlowStore()
	w := start(t, gohub.Config{Store: store})
	room := gohub.RoomID{Name: "r"}
	seqs := w.fill("r", 450)
	read := func(q gohub.Query) (got []int64) {
		for m, err := range w.hub.History(t.Context(), q) {
			require.NoError(t, err)
			got = append(got, m.Seq)
		}
		return got
	}
	alice := w.as("alice", "r")
	store.hold()
	id := alice.publish("r", "ordered, not stored")
	seqs = append(seqs, alice.expect("message", "id", id).num("seq"))

	back := slices.Clone(seqs)
	slices.Reverse(back)
	for _, limit := range []int{0, 7, 450, 1000} {
		require.Equal(t, seqs, read(gohub.Query{Room: room, Limit: limit}), limit)
		require.Equal(t, back, read(gohub.Query{Room: room, Limit: limit, Newest: true}), limit)
	}
	require.Equal(t, seqs[101:200], read(gohub.Query{Room: room, After: seqs[100], Before: seqs[200], Limit: 10}))
	all := w.hub.History(t.Context(), gohub.Query{Room: room})
	for range 2 { // a sequence may be ranged over again, and left early
		n := 0
		for _, err := range all {
			require.NoError(t, err)
			if n++; n == 300 {
				break
			}
		}
		require.Equal(t, 300, n)
	}
	require.Empty(t, read(gohub.Query{Room: gohub.RoomID{Name: "nowhere"}}))

	private := alice.publish("r", "for bob", "to", "bob")
	alice.expect("message", "id", private)
	require.Len(t, read(gohub.Query{Room: room, Viewer: "bob"}), 452)
	require.Len(t, read(gohub.Query{Room: room, Viewer: "carol"}), 451)
	store.release()
}

func TestHubHistoryTellsErrors(t *testing.T) {
	store := newHookedStore()
	w := start(t, gohub.Config{Store: store})
	w.fill("r", 30)
	pages := 0
	store.set(storeHooks{history: func(context.Context, gohub.Query) error {
		if pages++; pages > 1 {
			return errors.New("gone")
		}
		return nil
	}})
	var n int
	var last error
	for _, err := range w.hub.History(t.Context(), gohub.Query{Room: gohub.RoomID{Name: "r"}, Limit: 10}) {
		if last = err; err == nil {
			n++
		}
	}
	require.Equal(t, 10, n, fmt.Sprint(last))
	require.ErrorContains(t, last, "gone")
}
