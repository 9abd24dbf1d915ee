package flame

import (
	"encoding/xml"
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
		"runtime.gcBgMarkWorker runtime.scanObject":                    "collection",
		"github.com/gohub/gohub.f runtime.mallocgc runtime.nextFree":   "allocation",
		"github.com/gohub/gohub/internal/wire.f runtime.memmove":       "gohub/internal/wire",
		"net/http.(*conn).serve crypto/tls.(*Conn).Write":              "crypto",
		"runtime.mcall runtime.schedule":                               "runtime",
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
			if g.Rect.Class != w.class || g.Rect.Width < w.share*1178 || g.Rect.Width > w.share*1181 {
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
