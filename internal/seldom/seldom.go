// Package seldom keeps lines that clients can bring about, as often as they
// like, from filling a log that runs in production.
package seldom

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// A Line is one that is logged at its level once a second; the rest is for
// debugging. The zero Line is ready, and safe for concurrent use.
type Line struct{ last atomic.Int64 } // Unix ns

// At gives the level to log at: level, or Debug.
func (l *Line) At(level slog.Level) slog.Level {
	now, last := time.Now().UnixNano(), l.last.Load()
	if now-last >= int64(time.Second) && l.last.CompareAndSwap(last, now) {
		return level
	}
	return slog.LevelDebug
}
