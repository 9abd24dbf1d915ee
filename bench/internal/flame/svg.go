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
	width = 1200
	row   = 17
	head  = 76
	least = 0.7 // a frame that is narrower is left out
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

func (n *node) depth(total int64) int {
	deepest := 0
	for _, c := range n.calls {
		if wide(c.nanos, total) >= least {
			deepest = max(deepest, 1+c.depth(total))
		}
	}
	return deepest
}

func wide(nanos, total int64) float64 { return float64(nanos) / float64(max(total, 1)) * (width - 20) }

// SVG draws a flame graph: who is called stands on who calls, as wide as its
// share of the time, in the order of names. It is a picture; what is too narrow for its
// name has it as a tooltip.
func SVG(title string, stacks []Stack) []byte {
	root := &node{}
	for _, s := range stacks {
		root.add(s.Frames, s.Nanos)
	}
	bottom := head + row*root.depth(root.nanos)
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="title">
<title id="title">%s</title>
<style>
text{font-family:system-ui,-apple-system,"Segoe UI",sans-serif;font-size:12px;fill:#1f2328}.head{font-size:16px;font-weight:600}
.ground{fill:#fff;stroke:#d0d7de}
.kernel{fill:#e8927c}.ours{fill:#5cb88f}.socket{fill:#8ecae6}.net{fill:#a9bcd6}.tls{fill:#d3b1e0}.runtime{fill:#d9d9d9}.other{fill:#f0dc9b}
</style>
<rect class="ground" x="0.5" y="0.5" width="%d" height="%d" rx="8"/>
<text class="head" x="12" y="26">%s</text>
`, width, bottom+12, width, bottom+12, escape(title), width-1, bottom+11, escape(title))
	x := 12.0
	for _, l := range []struct {
		class Class
		name  string
	}{{Kernel, "system calls"}, {Ours, "gohub, or the floor"}, {Socket, "coder/websocket"}, {Net, "net, net/http"}, {TLS, "crypto"}, {Runtime, "runtime"}, {Other, "others"}} {
		fmt.Fprintf(&b, `<rect class="%s" x="%.1f" y="40" width="14" height="14"/><text x="%.1f" y="51">%s</text>`+"\n", l.class, x, x+19, l.name)
		x += 40 + 7*float64(len(l.name))
	}
	fmt.Fprintf(&b, `<text x="%d" y="51" text-anchor="end">%.2f s of CPU</text>`+"\n", width-12, float64(root.nanos)/1e9)
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
		if w < least {
			x += w
			continue
		}
		class := classOf(name)
		if kernel {
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

func escape(v string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(v)) // a buffer takes everything
	return b.String()
}
