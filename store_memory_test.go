package gohub_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/store/storetest"
)

func TestMemoryStore(t *testing.T) {
	storetest.Run(t, storetest.Features{}, func(*testing.T) gohub.Store {
		return gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
	})
}

func TestMemoryStoreWithoutBounds(t *testing.T) {
	storetest.Run(t, storetest.Features{Unbounded: true}, func(*testing.T) gohub.Store {
		return gohub.NewMemoryStore(gohub.MemoryStoreOptions{PerRoom: -1, Bytes: -1, Rows: -1})
	})
}

// memID makes an id that looks like a UUID.
func memID(i int) string { return fmt.Sprintf("0198c0de-%04x-7000-8000-%012x", i&0xffff, i) }

func memMessage(room string, seq int) gohub.Message {
	return gohub.Message{
		Room: gohub.RoomID{Tenant: "acme", Name: room}, ID: memID(seq), Seq: int64(seq),
		Sender: "alice", Kind: "chat", Body: []byte(`"hello"`),
	}
}

// memText makes letters at random.
func memText(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(rand.IntN(26))
	}
	return b
}

func memAppend(t *testing.T, s *gohub.MemoryStore, ms ...gohub.Message) []gohub.Ordered {
	t.Helper()
	out, err := s.Append(t.Context(), ms)
	require.NoError(t, err)
	return out
}

func memSeqs(t *testing.T, s gohub.Store, room string) (seqs []int64) {
	t.Helper()
	ms, _, err := s.History(t.Context(), gohub.Query{Room: gohub.RoomID{Tenant: "acme", Name: room}, Limit: 1_000_000})
	require.NoError(t, err)
	for _, m := range ms {
		seqs = append(seqs, m.Seq)
	}
	return seqs
}

func TestMemoryStoreKeepsTheNewestOfARoom(t *testing.T) {
	for name, order := range map[string]func([]int){
		"in order":  func([]int) {},
		"backwards": slices.Reverse[[]int],
		"shuffled":  func(o []int) { rand.Shuffle(len(o), func(i, j int) { o[i], o[j] = o[j], o[i] }) },
	} {
		t.Run(name, func(t *testing.T) {
			s := gohub.NewMemoryStore(gohub.MemoryStoreOptions{PerRoom: 10})
			seqs := make([]int, 25)
			for i := range seqs {
				seqs[i] = i + 1
			}
			order(seqs)
			for _, seq := range seqs {
				memAppend(t, s, memMessage("lobby", seq), memMessage("quiet", 1))
			}
			assert.Equal(t, []int64{16, 17, 18, 19, 20, 21, 22, 23, 24, 25}, memSeqs(t, s, "lobby"))
			assert.Equal(t, []int64{1}, memSeqs(t, s, "quiet"))
			_, _, _, _, err := gohub.MemoryStoreSize(s)
			require.NoError(t, err)
		})
	}
}

func TestMemoryStoreForgetsEvictedIDs(t *testing.T) {
	s := gohub.NewMemoryStore(gohub.MemoryStoreOptions{PerRoom: 2})
	first := memMessage("lobby", 1)
	memAppend(t, s, first, memMessage("lobby", 2), memMessage("lobby", 3))
	_, found, err := s.Lookup(t.Context(), first.Room, first.ID)
	require.NoError(t, err)
	require.False(t, found)
	first.Seq = 4
	require.Equal(t, []gohub.Ordered{{Seq: 4}}, memAppend(t, s, first))
	require.Equal(t, []int64{3, 4}, memSeqs(t, s, "lobby"))
}

func TestMemoryStoreEvictsTheOldestOfAllRooms(t *testing.T) {
	one := gohub.MessageSize(memMessage("room-00", 1)) + gohub.MemoryRoomSize
	s := gohub.NewMemoryStore(gohub.MemoryStoreOptions{Bytes: 50 * one})
	for i := range 1000 {
		memAppend(t, s, memMessage(fmt.Sprintf("room-%02d", i%70), i+1))
		messages, rooms, _, bytes, err := gohub.MemoryStoreSize(s)
		require.NoError(t, err)
		require.LessOrEqual(t, bytes, 50*one)
		require.Equal(t, min(i+1, 50), messages)
		require.Equal(t, min(i+1, 50), rooms, "a room without messages goes")
	}
	for i := range 70 {
		seqs := memSeqs(t, s, fmt.Sprintf("room-%02d", i))
		for _, seq := range seqs {
			assert.Greater(t, seq, int64(950))
		}
	}
	huge := memMessage("lobby", 2000)
	huge.Body = make([]byte, 60*one)
	require.Equal(t, []gohub.Ordered{{Seq: 2000}}, memAppend(t, s, huge))
	messages, rooms, _, bytes, err := gohub.MemoryStoreSize(s)
	require.NoError(t, err)
	assert.Zero(t, messages, "what does not fit goes, after all that is older")
	assert.Zero(t, rooms)
	assert.Zero(t, bytes)
}

// A long random life within small bounds, held against a simple model.
func TestMemoryStoreAgainstModel(t *testing.T) {
	const perRoom, bytes = 12, 20_000
	for range 5 {
		s := gohub.NewMemoryStore(gohub.MemoryStoreOptions{PerRoom: perRoom, Bytes: bytes})
		model := map[string][]gohub.Message{}
		size := func() (n int64, oldest string) {
			for room, ms := range model {
				if len(ms) > 0 {
					n += gohub.MemoryRoomSize
				}
				for _, m := range ms {
					n += gohub.MessageSize(m)
				}
				if len(ms) > 0 && (oldest == "" || ms[0].Seq < model[oldest][0].Seq) {
					oldest = room
				}
			}
			return n, oldest
		}
		seqs := rand.Perm(3000)
		slices.SortFunc(seqs, func(a, b int) int { return a/40 - b/40 }) // roughly ascending
		for _, seq := range seqs {
			m := memMessage(fmt.Sprint("room-", rand.IntN(1+seq/100)), seq+1)
			m.Body = memText(rand.IntN(400))
			m.Kind, m.Binary = string(memText(1+rand.IntN(5))), rand.IntN(2) == 0
			if rand.IntN(3) == 0 {
				m.To = string(memText(1 + rand.IntN(9)))
			}
			if room := model[m.Room.Name]; len(room) > 0 && rand.IntN(10) == 0 {
				known := room[rand.IntN(len(room))] // a duplicate
				m.ID = known.ID
				require.Equal(t, []gohub.Ordered{{Seq: known.Seq, Duplicate: true}}, memAppend(t, s, m))
				continue
			}
			require.Equal(t, []gohub.Ordered{{Seq: m.Seq}}, memAppend(t, s, m))
			room := append(model[m.Room.Name], m)
			slices.SortFunc(room, func(a, b gohub.Message) int { return int(a.Seq - b.Seq) })
			model[m.Room.Name] = room[max(0, len(room)-perRoom):]
			for n, oldest := size(); n > bytes; n, oldest = size() {
				model[oldest] = model[oldest][1:]
			}
		}
		total := 0
		for name, room := range model {
			total += len(room)
			got, _, err := s.History(t.Context(), gohub.Query{Room: gohub.RoomID{Tenant: "acme", Name: name}, Limit: 1_000})
			require.NoError(t, err)
			require.Len(t, got, len(room), name)
			for i := range room {
				require.Equal(t, room[i], got[i], name)
			}
		}
		messages, _, _, _, err := gohub.MemoryStoreSize(s)
		require.NoError(t, err)
		require.Equal(t, total, messages)
	}
}

// What the options count is what the store takes, or more, in rooms of any size and
// for messages of any size.
func TestMemoryStoreTakesWhatItCounts(t *testing.T) {
	same := func(n int) func(int) int { return func(int) int { return n } }
	for name, c := range map[string]struct {
		rooms, each int
		body        func(i int) int
		perRoom     int
	}{
		"one room":               {1, 10_000, same(128), 0},
		"short messages":         {1, 8_193, same(20), 0},
		"rooms of 100":           {1000, 100, same(128), 0},
		"rooms of 70":            {1000, 70, same(20), 0},
		"rooms of 10":            {1000, 10, same(128), 0},
		"rooms of 1":             {1000, 1, same(128), 0},
		"full rooms":             {1, 25_000, same(128), 0},
		"half a block":           {1, 2_000, same(8_300), 0},
		"a third of a block":     {1, 3_000, same(5_500), 0},
		"more than a block":      {3, 40, same(30_000), 0},
		"large and small":        {10, 500, func(i int) int { return 100 + i/10%2*16_300 }, 0},
		"a large, then a small":  {1000, 2, func(i int) int { return 64_400 - i/1000*64_380 }, 1},
		"large ones, then small": {10, 200, func(i int) int { return 30_000 - i/1000*29_900 }, 20},
		"any":                    {10, 1000, func(int) int { return rand.IntN(1 << rand.IntN(15)) }, 100},
	} {
		t.Run(name, func(t *testing.T) {
			s := gohub.NewMemoryStore(gohub.MemoryStoreOptions{Bytes: -1, PerRoom: c.perRoom})
			for i := range c.rooms * c.each {
				m := memMessage(fmt.Sprint("room-", i%c.rooms), i)
				m.Body = make([]byte, c.body(i))
				memAppend(t, s, m)
			}
			_, _, _, counted, err := gohub.MemoryStoreSize(s)
			require.NoError(t, err)
			taken := gohub.MemoryStoreTaken(s)
			most := counted + counted/16
			if c.perRoom > 0 {
				most += int64(c.rooms) << 10
			}
			if name == "any" {
				most += counted / 2
			}
			assert.LessOrEqual(t, taken, most)
			assert.Greater(t, taken, counted/4, "is it all in there?")
		})
	}

	// A room that was large and has become small, since others have come.
	s := gohub.NewMemoryStore(gohub.MemoryStoreOptions{Bytes: 32 << 20, PerRoom: -1})
	for i := range 100_000 {
		memAppend(t, s, memMessage("lobby", i))
	}
	huge := memMessage("annex", 100_000)
	huge.Body = make([]byte, 32<<20-10_000)
	memAppend(t, s, huge)
	require.NotEmpty(t, memSeqs(t, s, "lobby"))
	_, _, _, counted, err := gohub.MemoryStoreSize(s)
	require.NoError(t, err)
	assert.LessOrEqual(t, gohub.MemoryStoreTaken(s), counted+(2<<10))
}

// A room is not copied together again and again: where it has been, it is as any other.
func TestMemoryStoreIsCompactedOnce(t *testing.T) {
	for name, first := range map[string]int{"after a large message": 30_000, "after messages as long": 200} {
		t.Run(name, func(t *testing.T) {
			s := gohub.NewMemoryStore(gohub.MemoryStoreOptions{Bytes: -1, PerRoom: 20})
			compacted, before := 0, uint32(0)
			for i := range 1000 {
				m := memMessage("lobby", i)
				m.Body = make([]byte, 200)
				if i == 10 {
					m.Body = make([]byte, first)
				}
				memAppend(t, s, m)
				now := gohub.MemoryStoreBlock(s)
				if now < before {
					compacted++
				}
				before = now
			}
			assert.LessOrEqual(t, compacted, 2)
			_, _, _, _, err := gohub.MemoryStoreSize(s)
			require.NoError(t, err)
		})
	}
}

// A message that stays, since its Seq is of the future, does not keep the places of all that go.
func TestMemoryStoreForgetsBlocks(t *testing.T) {
	s := gohub.NewMemoryStore(gohub.MemoryStoreOptions{PerRoom: 5})
	memAppend(t, s, memMessage("lobby", 1<<40))
	for seq := range 5000 {
		memAppend(t, s, memMessage("lobby", seq))
	}
	require.Equal(t, []int64{4996, 4997, 4998, 4999, 1 << 40}, memSeqs(t, s, "lobby"))
	_, _, _, counted, err := gohub.MemoryStoreSize(s)
	require.NoError(t, err)
	require.LessOrEqual(t, gohub.MemoryStoreTaken(s), counted+1<<10)
}

// Where rooms have shrunk to an eighth, and are just not copied together, they take twice what is counted.
func TestMemoryStoreTakesTwiceWhereItShrank(t *testing.T) {
	for _, c := range []struct{ from, to int }{{64, 9}, {8192, 1025}, {8192, 1023}, {300, 40}} {
		one := memMessage("lobby", 0)
		s := gohub.NewMemoryStore(gohub.MemoryStoreOptions{Bytes: int64(c.from)*gohub.MessageSize(one) + gohub.MemoryRoomSize, PerRoom: -1})
		for i := range c.from {
			memAppend(t, s, memMessage("lobby", i))
		}
		big := memMessage("annex", c.from)
		big.Body = make([]byte, int64(c.from-c.to)*gohub.MessageSize(one)-2*gohub.MemoryRoomSize)
		memAppend(t, s, big)
		n, _, _, counted, err := gohub.MemoryStoreSize(s)
		require.NoError(t, err)
		require.InDelta(t, c.to, n, 8)
		lobby := counted - gohub.MessageSize(big)
		assert.LessOrEqual(t, gohub.MemoryStoreTaken(s)-gohub.MessageSize(big), 2*lobby+2<<10, "%+v", c)
	}
}

// A page is the caller's, whatever becomes of its messages in the store.
func TestMemoryStoreLeavesAPageAsItWas(t *testing.T) {
	s := gohub.NewMemoryStore(gohub.MemoryStoreOptions{PerRoom: 50})
	message := func(seq int) gohub.Message {
		m := memMessage("lobby", seq)
		m.Sender, m.Kind, m.Body, m.Binary = fmt.Sprint("user-", seq), fmt.Sprint("kind-", seq), fmt.Append(nil, "body ", seq), seq%2 == 0
		return m
	}
	var want []gohub.Message
	for seq := range 50 {
		want = append(want, message(seq+1))
		memAppend(t, s, message(seq+1))
	}
	page, _, err := s.History(t.Context(), gohub.Query{Room: want[0].Room, Limit: 100})
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for seq := range 500 {
			memAppend(t, s, message(seq+51))
		}
	})
	for range 100 {
		if !assert.Equal(t, want, page) {
			break
		}
	}
	wg.Wait()
	assert.Equal(t, want, page)
	for i := range page { // who appends to a body writes into nobody else's
		_ = append(page[i].Body, "overwritten"...)
	}
	assert.Equal(t, want, page)
}

func TestMemoryStoreBoundsUnderConcurrency(t *testing.T) {
	one := gohub.MessageSize(memMessage("room-00", 1))
	limit := 500*one + 60*gohub.MemoryRoomSize
	s := gohub.NewMemoryStore(gohub.MemoryStoreOptions{PerRoom: 40, Bytes: limit, Rows: 100})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 300 {
				var batch []gohub.Message
				for j := range 5 {
					batch = append(batch, memMessage(fmt.Sprint("room-", (w+j*i)%60), 1+j+5*(w+8*i)))
				}
				out, err := s.Append(t.Context(), batch)
				if err != nil {
					t.Error(err)
				}
				for _, o := range out {
					assert.Equal(t, gohub.Ordered{Seq: o.Seq}, o)
				}
				_, err = s.Advance(t.Context(), []gohub.Watermark{{Room: batch[0].Room, User: fmt.Sprint("user-", i%50), Seen: int64(i), Listing: gohub.ListJoin}})
				if err != nil {
					t.Error(err)
				}
				_, err = s.Rooms(t.Context(), "acme", fmt.Sprint("user-", i%50))
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	messages, _, rows, bytes, err := gohub.MemoryStoreSize(s)
	require.NoError(t, err)
	assert.LessOrEqual(t, bytes, limit)
	assert.Greater(t, messages, 450, "no more is evicted than has to be")
	assert.LessOrEqual(t, rows, 100)
}

func TestMemoryStoreEvictsTheRowAdvancedLongestAgo(t *testing.T) {
	s := gohub.NewMemoryStore(gohub.MemoryStoreOptions{Rows: 3})
	room := gohub.RoomID{Tenant: "acme", Name: "lobby"}
	advance := func(user string, l gohub.Listing) {
		_, err := s.Advance(t.Context(), []gohub.Watermark{{Room: room, User: user, Seen: 1, Listing: l}})
		require.NoError(t, err)
	}
	users := func() (names []string) {
		ws, err := s.Watermarks(t.Context(), gohub.MarkQuery{Room: room, Limit: 10})
		require.NoError(t, err)
		for _, w := range ws {
			names = append(names, w.User)
		}
		return names
	}
	advance("alice", gohub.ListJoin)
	advance("bob", gohub.ListJoin)
	advance("carol", gohub.ListJoin)
	advance("alice", gohub.ListKeep) // touched, though not moved
	advance("dave", gohub.ListJoin)
	assert.Equal(t, []string{"alice", "carol", "dave"}, users())
	list, err := s.Rooms(t.Context(), "acme", "bob")
	require.NoError(t, err)
	assert.Empty(t, list, "the list goes with the row")

	// A direct room is listed again by its next message.
	direct := gohub.DirectRoom("acme", "alice", "erin")
	for seq := range 3 {
		advance("frank", gohub.ListJoin)
		advance("grace", gohub.ListJoin)
		advance("heidi", gohub.ListJoin)
		m := memMessage(direct.Name, seq+1)
		memAppend(t, s, m)
		for _, user := range []string{"alice", "erin"} {
			list, err := s.Rooms(t.Context(), "acme", user)
			require.NoError(t, err)
			require.Len(t, list, 1, user)
		}
	}
	_, _, rows, _, err := gohub.MemoryStoreSize(s)
	require.NoError(t, err)
	assert.Equal(t, 3, rows)

	// Rows that say nothing are not kept.
	s = gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
	_, err = s.Advance(t.Context(), []gohub.Watermark{{Room: room, User: "bob", Listing: gohub.ListJoin}})
	require.NoError(t, err)
	_, err = s.Advance(t.Context(), []gohub.Watermark{{Room: room, User: "bob", Listing: gohub.ListLeave}, {Room: room, User: "carol"}})
	require.NoError(t, err)
	_, _, rows, _, err = gohub.MemoryStoreSize(s)
	require.NoError(t, err)
	assert.Zero(t, rows)
}

func TestMemoryStoreAppendAllocates(t *testing.T) {
	s := gohub.NewMemoryStore(gohub.MemoryStoreOptions{PerRoom: 1000})
	seq := 0
	batch := make([]gohub.Message, 1)
	append1 := func() {
		batch[0] = memMessages[seq%len(memMessages)]
		seq++
		batch[0].Seq = int64(seq)
		_, _ = s.Append(t.Context(), batch)
	}
	for range 3000 {
		append1()
	}
	assert.InDelta(t, 1, testing.AllocsPerRun(1000, append1), 0.5, "the results; no more once the room is full")
}

// memMessages are made once, so that benchmarks do not measure that.
var memMessages = func() []gohub.Message {
	ms := make([]gohub.Message, 1<<16)
	for i := range ms {
		ms[i] = memMessage("room-0", i)
	}
	return ms
}()

// One message at a time into one room, and into a thousand rooms, both full
// as they are in a long-running hub.
func BenchmarkMemoryStoreAppend(b *testing.B) {
	for _, rooms := range []int{1, 1000} {
		b.Run(fmt.Sprintf("rooms=%d", rooms), func(b *testing.B) {
			s := gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
			names := make([]string, rooms)
			for i := range names {
				names[i] = fmt.Sprint("room-", i)
			}
			batch := make([]gohub.Message, 1)
			ctx := b.Context()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				batch[0] = memMessages[i%len(memMessages)]
				batch[0].Seq = int64(i)
				batch[0].Room.Name = names[i%rooms]
				if out, err := s.Append(ctx, batch); err != nil || out[0].Err != nil {
					b.Fatal(out, err)
				}
			}
		})
	}
}
