package main

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A node of a page. encoding/xml reads what templ writes, which closes all it
// opens, once told what HTML closes by itself.
type node struct {
	name     string
	attrs    map[string]string
	children []*node
	text     string // of a text
}

func parseHTML(t *testing.T, html string) *node {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(html))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	root := &node{}
	open := []*node{root}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			require.Len(t, open, 1, "%s is not closed", open[len(open)-1].name)
			return root
		}
		require.NoError(t, err)
		last := open[len(open)-1]
		switch token := token.(type) {
		case xml.StartElement:
			n := &node{name: token.Name.Local, attrs: map[string]string{}}
			for _, a := range token.Attr {
				n.attrs[a.Name.Local] = a.Value
			}
			last.children = append(last.children, n)
			open = append(open, n)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			last.children = append(last.children, &node{text: string(token)})
		}
	}
}

// all gives what matches, in order: "li.message", "#boot", "ol#messages", "main".
// What is in a template is not on the page.
func (n *node) all(selector string) (found []*node) {
	name, id, _ := strings.Cut(selector, "#")
	name, class, _ := strings.Cut(name, ".")
	for _, c := range n.children {
		if (name == "" || c.name == name) && (id == "" || c.attrs["id"] == id) && (class == "" || c.has(class)) && c.name != "" {
			found = append(found, c)
		}
		if c.name != "template" {
			found = append(found, c.all(selector)...)
		}
	}
	return found
}

// one gives the one that matches.
func (n *node) one(t *testing.T, selector string) *node {
	t.Helper()
	found := n.all(selector)
	require.Len(t, found, 1, selector)
	return found[0]
}

func (n *node) has(class string) bool {
	return slices.Contains(strings.Fields(n.attrs["class"]), class)
}

// is reports whether an attribute is there.
func (n *node) is(attr string) bool {
	_, ok := n.attrs[attr]
	return ok
}

// words are the texts in it, with one space where there is any.
func (n *node) words() string {
	var b strings.Builder
	var walk func(*node)
	walk = func(n *node) {
		b.WriteString(n.text)
		for _, c := range n.children {
			walk(c)
		}
	}
	walk(n)
	return strings.Join(strings.Fields(b.String()), " ")
}
