// Package chart draws the benchmark's figures as SVG: bars with their spread,
// and lines of what grows. A chart says in its description what it shows, has a
// background of its own, and follows the reader's colour scheme.
package chart

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Kind decides a colour.
type Kind string

// Kinds of what is drawn.
const (
	Ours  Kind = "ours"
	Peer  Kind = "peer"
	Floor Kind = "floor"
)

// Bar is one figure: a median with its extremes.
type Bar struct {
	Name             string
	Kind             Kind
	Median, Min, Max float64
}

const (
	width    = 760
	rowSize  = 28
	left     = 170 // where bars begin
	right    = 150 // room for the figure behind the longest
	headSize = 82
	footSize = 18
)

// Less is better in all that is drawn, which the subtitle says.
const better = "less is better"

// Bars draws figures from zero, one below the other. Unit is what they are in,
// digits how many of them follow the point.
// What follows a colon in the title is said in smaller letters.
func Bars(title, unit string, digits int, bars []Bar) []byte {
	top := 0.0
	var said []string
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', digits, 64) }
	for _, b := range bars {
		top = max(top, b.Max)
		said = append(said, fmt.Sprintf("%s %s (%s to %s)", b.Name, number(b.Median), number(b.Min), number(b.Max)))
	}
	if top <= 0 {
		top = 1
	}
	var s bytes.Buffer
	height := headSize + rowSize*len(bars) + footSize
	open(&s, height, title, unit+", median and extremes, "+better+": "+strings.Join(said, "; ")+".")
	heading(&s, title, unit+", median and extremes; "+better)
	x := func(v float64) float64 { return left + v/top*(width-left-right) }
	for i, b := range bars {
		y := float64(headSize + rowSize*i)
		text(&s, 20, y+18, "name", b.Name)
		fmt.Fprintf(&s, `<rect class="%s" x="%d" y="%.1f" width="%.1f" height="18" rx="2"/>`+"\n", b.Kind, left, y+5, max(1, x(b.Median)-left))
		if b.Max > b.Min {
			fmt.Fprintf(&s, `<path class="spread" d="M%.1f %.1fH%.1fM%.1f %.1fv8M%.1f %.1fv8"/>`+"\n", x(b.Min), y+14, x(b.Max), x(b.Min), y+10, x(b.Max), y+10)
		}
		text(&s, x(b.Max)+8, y+18, "value", number(b.Median))
	}
	s.WriteString("</svg>\n")
	return s.Bytes()
}

// Line is one server's figure at each step; NaN where it has none.
type Line struct {
	Name   string
	Kind   Kind
	Values []float64
}

// Lines draws what a unit costs as there are more of them: flat is good. Steps
// name the places along the axis.
func Lines(title, unit string, digits int, steps []string, lines []Line) []byte {
	const height, base, plotTop, plotRight = 320, 272, 96, width - 170
	top := 0.0
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', digits, 64) }
	var said []string
	for _, l := range lines {
		var at []string
		for i, v := range l.Values {
			if !math.IsNaN(v) {
				top = max(top, v)
				at = append(at, number(v)+" at "+steps[i])
			}
		}
		said = append(said, l.Name+" "+strings.Join(at, ", "))
	}
	if top <= 0 {
		top = 1
	}
	var s bytes.Buffer
	open(&s, height, title, unit+", medians, "+better+": "+strings.Join(said, "; ")+".")
	heading(&s, title, unit+", medians; flat is good, "+better)
	x := func(i int) float64 { return 90 + float64(i)*(plotRight-90)/float64(max(1, len(steps)-1)) }
	y := func(v float64) float64 { return base - v/top*(base-plotTop) }
	fmt.Fprintf(&s, `<path class="spread" d="M70 %dH%d"/>`+"\n", base, plotRight+20)
	for i, step := range steps {
		fmt.Fprintf(&s, `<text class="note" text-anchor="middle" x="%.1f" y="%d">%s</text>`+"\n", x(i), base+22, escape(step))
	}
	ends := map[int]bool{} // a name is not written over another
	for _, l := range lines {
		var path strings.Builder
		last, lastAt := 0.0, -1
		for i, v := range l.Values {
			if math.IsNaN(v) {
				continue
			}
			command := "L"
			if path.Len() == 0 {
				command = "M"
			}
			fmt.Fprintf(&path, "%s%.1f %.1f", command, x(i), y(v))
			fmt.Fprintf(&s, `<circle class="%s" cx="%.1f" cy="%.1f" r="4"/>`+"\n", l.Kind, x(i), y(v))
			last, lastAt = y(v), i
		}
		if lastAt < 0 {
			continue
		}
		fmt.Fprintf(&s, `<path class="line %s" d="%s"/>`+"\n", l.Kind, path.String())
		row := int(last) / 16
		for ends[row] {
			row++
		}
		ends[row] = true
		text(&s, x(lastAt)+12, float64(row*16+8), "value", l.Name+" "+number(l.Values[lastAt]))
	}
	s.WriteString("</svg>\n")
	return s.Bytes()
}

func open(s *bytes.Buffer, height int, title, description string) {
	fmt.Fprintf(s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="title desc">
<title id="title">%s</title>
<desc id="desc">%s</desc>
<style>
text{font-family:system-ui,-apple-system,"Segoe UI",sans-serif;font-size:14px;fill:#1f2328}
.head{font-size:16px;font-weight:600}.note{font-size:13px;fill:#57606a}.value{font-variant-numeric:tabular-nums}
.ground{fill:#fff;stroke:#d0d7de}.ours{fill:#0a7d53}.peer{fill:#6e83a3}.floor{fill:#b4bcc6}
.spread{stroke:#1f2328;stroke-width:1.2;fill:none}
.line{fill:none;stroke-width:2.5}.line.ours{stroke:#0a7d53}.line.peer{stroke:#6e83a3}.line.floor{stroke:#b4bcc6}
@media(prefers-color-scheme:dark){
text{fill:#e6edf3}.note{fill:#9da7b3}.ground{fill:#0d1117;stroke:#30363d}
.ours{fill:#3fb98a}.peer{fill:#7d93b5}.floor{fill:#545d68}.spread{stroke:#e6edf3}
.line.ours{stroke:#3fb98a}.line.peer{stroke:#7d93b5}.line.floor{stroke:#545d68}.line{fill:none}
}
</style>
<rect class="ground" x="0.5" y="0.5" width="%d" height="%d" rx="8"/>
`, width, height, width, height, escape(title), escape(description), width-1, height-1)
}

func heading(s *bytes.Buffer, title, note string) {
	head, rest, _ := strings.Cut(title, ": ")
	text(s, 20, 28, "head", head)
	text(s, 20, 48, "note", rest)
	text(s, 20, 67, "note", note)
}

func text(s *bytes.Buffer, x, y float64, class, v string) {
	fmt.Fprintf(s, `<text class="%s" x="%.1f" y="%.1f">%s</text>`+"\n", class, x, y, escape(v))
}

func escape(v string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(v)) // a buffer takes everything
	return b.String()
}
