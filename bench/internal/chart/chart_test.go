package chart

import (
	"encoding/xml"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// document is what a screen reader and a browser make of a chart.
type document struct {
	Role  string `xml:"role,attr"`
	Title string `xml:"title"`
	Desc  string `xml:"desc"`
	Rects []struct {
		Class string  `xml:"class,attr"`
		Width float64 `xml:"width,attr"`
	} `xml:"rect"`
	Texts []string `xml:"text"`
}

func parse(t *testing.T, svg []byte) (d document) {
	t.Helper()
	if err := xml.Unmarshal(svg, &d); err != nil {
		t.Fatalf("%v in\n%s", err, svg)
	}
	return d
}

func TestBarsAreAsLongAsTheirFigures(t *testing.T) {
	svg := Bars("a < b", "ms & more", 1, []Bar{
		{Name: "ours", Kind: Ours, Median: 2, Min: 1, Max: 3},
		{Name: "theirs", Kind: Peer, Median: 8, Min: 8, Max: 8},
	})
	d := parse(t, svg)
	if d.Role != "img" || d.Title != "a < b" {
		t.Errorf("role %q, title %q", d.Role, d.Title)
	}
	for _, want := range []string{"ms & more", "ours 2.0 (1.0 to 3.0)", "theirs 8.0 (8.0 to 8.0)"} {
		if !strings.Contains(d.Desc, want) {
			t.Errorf("no %q in %q", want, d.Desc)
		}
	}
	if len(d.Rects) != 3 {
		t.Fatalf("%d rectangles, want the ground and two bars", len(d.Rects))
	}
	ours, theirs := d.Rects[1], d.Rects[2]
	if ours.Class != "ours" || theirs.Class != "peer" || math.Abs(theirs.Width-4*ours.Width) > 0.5 {
		t.Errorf("bars %+v and %+v: want one four times the other", ours, theirs)
	}
	if !strings.Contains(string(svg), "prefers-color-scheme:dark") {
		t.Error("no colours for the dark")
	}
}

func TestLinesStartAtZeroAndKeepNamesApart(t *testing.T) {
	svg := Lines("grows", "µs", 0, []string{"10", "100"}, []Line{
		{Name: "ours", Kind: Ours, Values: []float64{10, 10}},
		{Name: "theirs", Kind: Peer, Values: []float64{math.NaN(), 10}},
	})
	d := parse(t, svg)
	if !strings.Contains(d.Desc, "ours 10 at 10, 10 at 100") || strings.Contains(d.Desc, "NaN") {
		t.Errorf("description %q", d.Desc)
	}
	at := regexp.MustCompile(`y="([0-9.]+)">(?:ours|theirs) 10<`).FindAllSubmatch(svg, -1)
	if len(at) != 2 {
		t.Fatalf("%d names at the ends of lines", len(at))
	}
	a, _ := strconv.ParseFloat(string(at[0][1]), 64)
	b, _ := strconv.ParseFloat(string(at[1][1]), 64)
	if math.Abs(a-b) < 14 {
		t.Errorf("names %v apart", math.Abs(a-b))
	}
}

func TestNothingToDraw(t *testing.T) {
	parse(t, Bars("none", "ms", 1, nil))
	parse(t, Lines("none", "ms", 1, nil, nil))
}
