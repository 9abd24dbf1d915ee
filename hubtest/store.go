package hubtest

import (
	"context"
	"sync"
	"time"

	"github.com/gohub/gohub"
)

// A FaultyStore is a Store that fails, or takes its time, when it is told to.
// It says nothing about a Store's own behaviour: for that there is
// store/storetest.
//
// The hub takes a short cut for the Store that comes with it, and none for
// this one: also a test without faults sees acks come later than messages.
type FaultyStore struct {
	gohub.Store

	mu    sync.Mutex // guards what follows
	err   error
	delay time.Duration
	held  chan struct{} // closed by Release; nil: nothing is held
}

// Faulty puts faults around a Store; nil: around one in memory.
func Faulty(s gohub.Store) *FaultyStore {
	if s == nil {
		s = gohub.NewMemoryStore(gohub.MemoryStoreOptions{})
	}
	return &FaultyStore{Store: s}
}

// Fail lets everything fail with err, until Fail(nil). It wins over Hold: what
// is held fails, too, when it is released.
func (s *FaultyStore) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// Delay lets every Append take so much longer; 0: no longer.
func (s *FaultyStore) Delay(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = d
}

// Hold lets every Append wait for Release: no message is stored, so none is
// acked. Reads show what was stored before.
func (s *FaultyStore) Hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = make(chan struct{})
	}
}

// Release ends Hold.
func (s *FaultyStore) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		close(s.held)
		s.held = nil
	}
}

// heal ends all faults.
func (s *FaultyStore) heal() {
	s.Fail(nil)
	s.Delay(0)
	s.Release()
}

// fails gives the error that is to be returned in place of a call.
func (s *FaultyStore) fails() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// wait waits as Delay and Hold say.
func (s *FaultyStore) wait(ctx context.Context) error {
	s.mu.Lock()
	delay, held := s.delay, s.held
	s.mu.Unlock()
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if held == nil {
		return nil
	}
	select {
	case <-held:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Append is the Store's.
func (s *FaultyStore) Append(ctx context.Context, batch []gohub.Message) ([]gohub.Ordered, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	if err := s.fails(); err != nil {
		return nil, err
	}
	return s.Store.Append(ctx, batch)
}

// Lookup is the Store's.
func (s *FaultyStore) Lookup(ctx context.Context, room gohub.RoomID, id string) (gohub.Message, bool, error) {
	if err := s.fails(); err != nil {
		return gohub.Message{}, false, err
	}
	return s.Store.Lookup(ctx, room, id)
}

// History is the Store's.
func (s *FaultyStore) History(ctx context.Context, q gohub.Query) ([]gohub.Message, bool, error) {
	if err := s.fails(); err != nil {
		return nil, false, err
	}
	return s.Store.History(ctx, q)
}

// Advance is the Store's.
func (s *FaultyStore) Advance(ctx context.Context, ws []gohub.Watermark) ([]gohub.Watermark, error) {
	if err := s.fails(); err != nil {
		return nil, err
	}
	return s.Store.Advance(ctx, ws)
}

// Watermarks is the Store's.
func (s *FaultyStore) Watermarks(ctx context.Context, q gohub.MarkQuery) ([]gohub.Watermark, error) {
	if err := s.fails(); err != nil {
		return nil, err
	}
	return s.Store.Watermarks(ctx, q)
}

// Rooms is the Store's.
func (s *FaultyStore) Rooms(ctx context.Context, tenant, user string) ([]gohub.RoomState, error) {
	if err := s.fails(); err != nil {
		return nil, err
	}
	return s.Store.Rooms(ctx, tenant, user)
}
