package hubtest_test

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/gohub/gohub/internal/atrest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(atrest.M(m, goleak.Find)) }

// nobodyTells returns when no hub is telling of members: what is published in that
// very instant is left to who does, and pongs do not wait for it.
func nobodyTells() {
	stacks := make([]byte, 8<<20)
	for bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("gohub.(*room).tellMembers")) {
		time.Sleep(time.Millisecond)
	}
}

// both runs f in real time and in virtual time.
func both(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		f(t)
	})
	t.Run("virtual", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, f)
	})
}

// virtual runs f in virtual time.
func virtual(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

// A recorder is a test that may fail.
type recorder struct {
	testing.TB

	mu       sync.Mutex // guards what follows
	fatal    string
	errors   []string
	logs     []string
	cleanups []func()
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.mu.Lock()
	r.fatal = fmt.Sprintf(format, args...)
	r.mu.Unlock()
	runtime.Goexit()
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *recorder) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs = append(r.logs, fmt.Sprintf(format, args...))
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fatal != "" || len(r.errors) > 0
}

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

// run runs f as a test of its own.
func (r *recorder) run(f func(t testing.TB)) {
	done := make(chan struct{})
	go func() { // ends with f, or where f fails
		defer close(done)
		defer func() {
			for _, f := range slices.Backward(r.cleanups) {
				f()
			}
		}()
		f(r)
	}()
	<-done
}

func try(t *testing.T, f func(t testing.TB)) *recorder {
	t.Helper()
	r := &recorder{TB: t}
	r.run(f)
	return r
}

func (r *recorder) all() string {
	return strings.Join(slices.Concat([]string{r.fatal}, r.errors, r.logs), "\n")
}
