package flame

import (
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
)

const raw = `PeriodType: cpu nanoseconds
Samples:
samples/count cpu/nanoseconds
          3   30000000: 1 2 4 
          1   10000000: 3 4 
Locations
     1: 0x1 M=1 internal/runtime/syscall/linux.Syscall6 /go/asm.s:36:0 s=30
     2: 0x2 M=1 syscall.write /go/z.go:964:0 s=950
             syscall.Write /go/syscall_unix.go:211:0 s=190
     3: 0x3 M=1 github.com/gohub/gohub/internal/wire.Append[go.shape.struct { A int }] /src/wire.go:9:0 s=1
     4: 0x4 M=1 github.com/gohub/gohub.(*room).deliver /src/room.go:7:0 s=1
Mappings
1: 0x400000/0x600000/0x0 /bin/x  
`

func stacks(t *testing.T) []Stack {
	t.Helper()
	s, err := parse(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParse(t *testing.T) {
	s := stacks(t)
	if len(s) != 2 || s[0].Nanos != 30e6 || strings.Join(s[0].Frames, " ") !=
		"github.com/gohub/gohub.(*room).deliver syscall.Write syscall.write internal/runtime/syscall/linux.Syscall6" {
		t.Errorf("%+v", s)
	}
	if got := s[1].Frames[1]; got != "github.com/gohub/gohub/internal/wire.Append[go.shape.struct { A int }]" {
		t.Error(got)
	}
}

func TestItems(t *testing.T) {
	for frames, want := range map[string]string{
		"main.f syscall.write internal/runtime/syscall/linux.Syscall6": "write(2)",
		"runtime.mcall runtime.findRunnable runtime.netpoll":           "epoll(2)",
		"net.(*netFD).Read runtime.netpollblock runtime.gopark":        "net",
		"github.com/gohub/gohub/internal/wsconn.(*writeOp).once github.com/gohub/gohub/internal/wsconn.writeFD syscall.RawSyscall internal/runtime/syscall/linux.Syscall6": "write(2)",
		"main.(*room).send main.(*conn).write syscall.RawSyscall": "write(2)", "main.(*conn).write": "main",
		"runtime.gcBgMarkWorker runtime.scanObject":                  "collection",
		"github.com/gohub/gohub.f runtime.mallocgc runtime.nextFree": "allocation",
		"github.com/gohub/gohub/internal/wire.f runtime.memmove":     "gohub/internal/wire",
		"net/http.(*conn).serve crypto/tls.(*Conn).Write":            "crypto",
		"runtime.mcall runtime.schedule":                             "runtime",
	} {
		if got := item(strings.Fields(frames)); got != want {
			t.Errorf("%s: %s, want %s", frames, got, want)
		}
	}
	if got := Items(stacks(t)); got["write(2)"] != 30e6 || len(got) != 2 {
		t.Errorf("%v", got)
	}
}

func TestSVG(t *testing.T) {
	svg := SVG("a < b", stacks(t))
	var d struct {
		Title string `xml:"title"`
		G     []struct {
			Title string `xml:"title"`
			Rect  struct {
				Class string  `xml:"class,attr"`
				X     float64 `xml:"x,attr"`
				Width float64 `xml:"width,attr"`
			} `xml:"rect"`
		} `xml:"g"`
	}
	if err := xml.Unmarshal(svg, &d); err != nil {
		t.Fatalf("%v in\n%s", err, svg)
	}
	want := map[string]struct {
		class string
		share float64
	}{
		"github.com/gohub/gohub.(*room).deliver: 100.0 %": {"ours", 1},
		"syscall.write: 75.0 %":                           {"kernel", .75},
		"internal/runtime/syscall/linux.Syscall6: 75.0 %": {"kernel", .75},
	}
	for _, g := range d.G {
		if w, ok := want[g.Title]; ok {
			delete(want, g.Title)
			if g.Rect.Class != w.class || g.Rect.Width < w.share*(width-22) || g.Rect.Width > w.share*(width-19) {
				t.Errorf("%s: %+v", g.Title, g.Rect)
			}
		}
		if g.Rect.X+g.Rect.Width > width-9 {
			t.Errorf("%s ends at %v", g.Title, g.Rect.X+g.Rect.Width)
		}
	}
	if len(want) > 0 || d.Title != "a < b" || strings.Contains(string(svg), "<script") {
		t.Errorf("%q, without %v", d.Title, want)
	}
	if err := xml.Unmarshal(SVG("nothing", nil), &d); err != nil {
		t.Error(err)
	}
}

// What is too narrow is there as one, so that its caller's own time is not seen as more than it is.
func TestNarrowOnesAreOne(t *testing.T) {
	wide := Stack{Frames: []string{"main.f", "main.wide"}, Nanos: 900e6}
	var all []Stack
	for i := range 2_000 {
		all = append(all, Stack{Frames: []string{"main.f", fmt.Sprintf("main.g%d", i), "main.deep", "main.deeper"}, Nanos: 50e3})
		all = append(all, Stack{Frames: []string{"main.f", "main.wide", fmt.Sprintf("main.h%d", i)}, Nanos: 300e3})
	}
	svg := string(SVG("many", append(all, wide)))
	for _, want := range []string{"main.wide: 93.8 %", "2000 narrow ones: 6.2 %", "2000 narrow ones: 37.5 %"} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Contains(svg, "main.deep") {
		t.Error("what a narrow one calls is drawn")
	}
	all = nil
	for i := range 400 {
		all = append(all, Stack{Frames: []string{"main.f", fmt.Sprintf("main.%s%d", strings.Repeat("a", 300), i)}, Nanos: 10e6})
	}
	if n := len(SVG("long names", all)); n > small {
		t.Errorf("%d bytes", n)
	}
}
