package flame

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const (
	width = 900 // a README's
	row   = 17
	head  = 76
	hair  = 0.5      // what is narrower is left out
	last  = "\uffff" // begins a name that comes after the others
	small = 55_000   // bytes of a picture
)

// node is a function where it was called from.
type node struct {
	nanos int64
	calls map[string]*node
}

func (n *node) add(frames []string, nanos int64) {
	n.nanos += nanos
	if len(frames) == 0 {
		return
	}
	if n.calls == nil {
		n.calls = map[string]*node{}
	}
	c := n.calls[frames[0]]
	if c == nil {
		c = &node{}
		n.calls[frames[0]] = c
	}
	c.add(frames[1:], nanos)
}

// merge makes one node of those that are called from the same one and are narrower
// than least, and says how many calls deep the rest is.
func (n *node) merge(total int64, least float64) (depth int) {
	rest, count := int64(0), 0
	for name, c := range n.calls {
		if wide(c.nanos, total) < least {
			delete(n.calls, name)
			rest, count = rest+c.nanos, count+1
			continue
		}
		depth = max(depth, 1+c.merge(total, least))
	}
	if wide(rest, total) >= hair {
		n.calls[fmt.Sprintf("%s%d narrow ones", last, count)] = &node{nanos: rest}
		depth = max(depth, 1)
	}
	return depth
}

func wide(nanos, total int64) float64 { return float64(nanos) / float64(max(total, 1)) * (width - 20) }

// SVG draws a flame graph: who is called stands on who calls, as wide as its
// share of the time, in the order of names. It is a picture; what is too narrow for its
// name has it as a tooltip, and the narrowest are drawn as one, as many as it takes for a small file.
func SVG(title string, stacks []Stack) []byte {
	for least := 1.0; ; least *= 1.3 {
		if svg := draw(title, stacks, least); len(svg) <= small || least > width {
			return svg
		}
	}
}

func draw(title string, stacks []Stack, least float64) []byte {
	root := &node{}
	for _, s := range stacks {
		root.add(s.Frames, s.Nanos)
	}
	bottom := head + row*root.merge(root.nanos, least)
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="title">
<title id="title">%s</title>
<style>
text{font-family:system-ui,-apple-system,"Segoe UI",sans-serif;font-size:12px;fill:#1f2328}.head{font-size:16px;font-weight:600}
.ground{fill:#fff;stroke:#d0d7de}
.kernel{fill:#e8927c}.ours{fill:#5cb88f}.socket{fill:#8ecae6}.net{fill:#a9bcd6}.tls{fill:#d3b1e0}.runtime{fill:#d9d9d9}.other{fill:#f0dc9b}.narrow{fill:#fff;stroke:#d0d7de}
</style>
<rect class="ground" x="0.5" y="0.5" width="%d" height="%d" rx="8"/>
<text class="head" x="12" y="26">%s</text>
`, width, bottom+12, width, bottom+12, escape(title), width-1, bottom+11, escape(title))
	x := 12.0
	for _, l := range []struct {
		class Class
		name  string
	}{{Kernel, "system calls"}, {Ours, "gohub, or the floor"}, {Socket, "coder/websocket"}, {Net, "net, net/http"}, {TLS, "crypto"}, {Runtime, "runtime"}, {Other, "others"}, {narrow, "narrow ones"}} {
		fmt.Fprintf(&b, `<rect class="%s" x="%.1f" y="40" width="14" height="14"/><text x="%.1f" y="51">%s</text>`+"\n", l.class, x, x+19, l.name)
		x += 36 + 6.5*float64(len(l.name))
	}
	fmt.Fprintf(&b, `<text x="%d" y="26" text-anchor="end">%.2f s of CPU</text>`+"\n", width-12, float64(root.nanos)/1e9)
	root.draw(&b, 10, bottom, root.nanos, false)
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// draw draws what n calls, on a line whose lower edge is at bottom. What a system
// call does is one too.
func (n *node) draw(b *bytes.Buffer, x float64, bottom int, total int64, kernel bool) {
	for _, name := range slices.Sorted(maps.Keys(n.calls)) {
		c := n.calls[name]
		w := wide(c.nanos, total)
		class := classOf(name)
		switch merged, ok := strings.CutPrefix(name, last); {
		case ok:
			name, class = merged, narrow
		case kernel:
			class = Kernel
		}
		fmt.Fprintf(b, `<g><title>%s: %.1f %%</title><rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d"/>`,
			escape(name), 100*float64(c.nanos)/float64(total), class, x, bottom-row, max(0.4, w-0.5), row-1)
		if fits := int(w/7) - 1; fits > 2 {
			short := name[strings.LastIndexByte(name, '/')+1:]
			if len(short) > fits {
				short = short[:fits-1] + "…"
			}
			fmt.Fprintf(b, `<text x="%.1f" y="%d">%s</text>`, x+3, bottom-5, escape(short))
		}
		b.WriteString("</g>\n")
		c.draw(b, x, bottom-row, total, class == Kernel)
		x += w
	}
}

// narrow is the class of what is drawn as one.
const narrow Class = "narrow"

func escape(v string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(v)) // a buffer takes everything
	return b.String()
}
