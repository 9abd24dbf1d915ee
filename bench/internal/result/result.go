// Package result is what one run of the load generator says, as JSON: the
// only thing that the runner knows about it.
package result

import (
	"github.com/gohub/gohub/bench/internal/debug"
	"github.com/gohub/gohub/bench/internal/stats"
)

// Run is one scenario against one server.
type Run struct {
	Scenario string   `json:"scenario"`
	Error    string   `json:"error,omitempty"`
	Notes    []string `json:"notes,omitempty"`

	// The measured window. It ends when the server has said what it used, which a
	// busy one does late.
	Seconds    float64 `json:"seconds"`
	Window     float64 `json:"window_s,omitempty"` // Seconds as they were meant
	Warm       float64 `json:"warm_s,omitempty"`   // of traffic before it
	Sent       int64   `json:"sent"`
	Delivered  int64   `json:"delivered"`
	Acked      int64   `json:"acked"`
	Errors     int64   `json:"errors"`      // error frames
	FrameBytes int     `json:"frame_bytes"` // payload of one message frame

	// CPU seconds within the window.
	ServerCPU  float64 `json:"server_cpu_s"` // the server's own getrusage
	ServerUser float64 `json:"server_user_s"`
	LoadCPU    float64 `json:"load_cpu_s"`
	StoreCPU   float64 `json:"store_cpu_s"`           // the database server, where there is one
	RedisCPU   float64 `json:"redis_cpu_s,omitempty"` // the Redis, where there is one
	OtherCPU   float64 `json:"other_cpu_s"`           // everyone else on this machine, stolen time included
	Cores      int     `json:"cores"`
	Elapsed    float64 `json:"elapsed_s,omitempty"` // that the CPU was used in, where it is not Seconds

	// Resident bytes of the server at the end of the window, and its peak until then.
	RSS     int64 `json:"rss,omitempty"`
	RSSPeak int64 `json:"rss_peak,omitempty"`

	// ServerAllocs is heap objects the server allocated in the window.
	ServerAllocs int64 `json:"server_allocs"`
	// ServerWrites is its write system calls then.
	ServerWrites int64 `json:"server_writes"`

	// From a publish written, or in an open loop due (but for -from-send).
	Latency stats.Latency `json:"latency"`       // to its message read; to its message arrived, where Read is there
	Read    stats.Latency `json:"read_latency"`  // to its message read, where arrivals are noted
	Ack     stats.Latency `json:"ack_latency"`   // to its ack read, where acks are sampled
	Late    stats.Latency `json:"send_lateness"` // open loop: how far behind its schedule a publish left
	Idle    *Idle         `json:"idle,omitempty"`
	Slow    *Slow         `json:"slow,omitempty"`
	Store   *Store        `json:"store,omitempty"`
	Paced   *Paced        `json:"paced,omitempty"`
	Stopped *Stopped      `json:"stopped,omitempty"`
	Replay  *Replay       `json:"replay,omitempty"`
	Storm   *Storm        `json:"storm,omitempty"`
	Stalled *Stalled      `json:"stalled,omitempty"`
	Whole   *Whole        `json:"whole,omitempty"`
}

// Whole is the run from first publish to the end of the drain: here every
// message must have come to every member, and every ack to its sender.
type Whole struct {
	Sent      int64 `json:"sent"`
	Expected  int64 `json:"expected_deliveries"`
	Delivered int64 `json:"delivered"`
	Acked     int64 `json:"acked"`
	Closed    int   `json:"closed"` // connections the server ended
	Amiss     int   `json:"amiss"`  // others that got more or fewer messages than were sent in their room
}

// Idle is memory with connections that do nothing.
type Idle struct {
	Conns     int       `json:"conns"`
	Base      debug.Mem `json:"base"`      // before the first, collected
	Connected debug.Mem `json:"connected"` // as it is after the last
	Collected debug.Mem `json:"collected"` // after GC
}

// PerConn and PerConnGC are resident bytes each.
func (i *Idle) PerConn() float64 { return float64(i.Connected.RSS-i.Base.RSS) / float64(i.Conns) }

// PerConnGC is PerConn after a collection.
func (i *Idle) PerConnGC() float64 { return float64(i.Collected.RSS-i.Base.RSS) / float64(i.Conns) }

// Store is what the hub had its Store do, as the hub's process counts it. In a
// Run, within the window.
type Store struct {
	Appends  int64   `json:"appends"`
	Messages int64   `json:"messages"`
	Seconds  float64 `json:"append_s"` // in Append, of all lanes together

	// Of Postgres, from pg_stat_wal.
	WALSyncs   int64 `json:"wal_syncs"`
	WALBytes   int64 `json:"wal_bytes"`
	WALRecords int64 `json:"wal_records"`
	WALImages  int64 `json:"wal_fpi"` // whole pages, the first time after a checkpoint
}

// Sub is what came between before and s.
func (s Store) Sub(before Store) Store {
	return Store{
		Appends: s.Appends - before.Appends, Messages: s.Messages - before.Messages, Seconds: s.Seconds - before.Seconds,
		WALSyncs: s.WALSyncs - before.WALSyncs, WALBytes: s.WALBytes - before.WALBytes,
		WALRecords: s.WALRecords - before.WALRecords, WALImages: s.WALImages - before.WALImages,
	}
}

// Paced is the second part of a closed loop: an open one at half of what was
// reached.
type Paced struct {
	Rate      float64       `json:"rate"` // publishes a second
	Ack       stats.Latency `json:"ack_latency"`
	Late      stats.Latency `json:"send_lateness"`
	Seconds   float64       `json:"seconds"`
	ServerCPU float64       `json:"server_cpu_s"` // as Run's
	StoreCPU  float64       `json:"store_cpu_s"`
	LoadCPU   float64       `json:"load_cpu_s"`
}

// Stopped is delivery while the database stands still.
type Stopped struct {
	With     stats.Latency `json:"with"` // Run.Latency is before
	Seconds  float64       `json:"seconds"`
	Acked    int64         `json:"acked"`     // meanwhile: of what was committed when it was stopped
	Pending  int64         `json:"pending"`   // unacked at the end of it
	Recovery float64       `json:"recover_s"` // from when it went on until all of those were acked
	OtherCPU float64       `json:"other_cpu_s"`
}

// Replay is reading what is old, one request at a time, from the request
// written to the end of its answer read.
type Replay struct {
	Rows   int           `json:"rows"`   // in the room
	Cold   stats.Latency `json:"cold"`   // join of a room in which nobody is: read from the Store
	Warm   stats.Latency `json:"warm"`   // join of a room in which somebody is
	Newest stats.Latency `json:"newest"` // pages of 100
	Middle stats.Latency `json:"middle"`
	Oldest stats.Latency `json:"oldest"`
}

// Slow is what one member that stops reading did to the others and to the server.
type Slow struct {
	Before    stats.Latency `json:"before"`        // the others while it reads
	With      stats.Latency `json:"with"`          // the others from when it stops until it is gone
	LeftAfter float64       `json:"left_after_s"`  // until the others were told; 0: never
	GoneAfter float64       `json:"gone_after_s"`  // until the server's socket was closed; 0: never
	Unread    int64         `json:"unread_bytes"`  // published for it until it had left
	CloseCode int           `json:"close_code"`    // that it read afterwards; 0: none
	End       string        `json:"end,omitempty"` // how its connection ended
	RSSBefore int64         `json:"rss_before"`
	Seconds   float64       `json:"seconds"`     // that With covers
	OtherCPU  float64       `json:"other_cpu_s"` // as Run's, in that time
	RSSMax    int64         `json:"rss_max"`     // until a second after it was gone
}

// Storm is connections that came at once.
type Storm struct {
	Conns int           `json:"conns"`
	Join  stats.Latency `json:"join"` // of each, from dialling to its room

	// Of a reconnect storm: messages that they had missed.
	Expected int `json:"expected,omitempty"`
	Got      int `json:"got,omitempty"`
	Wrong    int `json:"wrong,omitempty"` // connections that got more of them, or fewer
}

// Stalled is what members that stop reading did to the others and to the server.
type Stalled struct {
	Members   int           `json:"members"`
	Before    stats.Latency `json:"before"`       // the others while they read
	With      stats.Latency `json:"with"`         // the others while they do not, at first: as long as before
	Gone      int           `json:"gone"`         // how many of them the server has let go at the end
	GoneAfter float64       `json:"gone_after_s"` // until it had let go all; 0: never
	RSSBefore int64         `json:"rss_before"`
	RSSMax    int64         `json:"rss_max"`
	Seconds   float64       `json:"seconds"` // until the end of all this
	OtherCPU  float64       `json:"other_cpu_s"`
}
