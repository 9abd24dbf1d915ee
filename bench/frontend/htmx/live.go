package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/a-h/templ"
	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/bench/frontend/internal/chat"
)

// live is one page: a member of the room on its behalf, which turns the frames
// of gohub.v1 into HTML, and the page's forms into frames.
func live(w http.ResponseWriter, r *http.Request, inside *http.Client) {
	page, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer page.CloseNow()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	hub, _, err := websocket.Dial(ctx, "ws://hub/ws", &websocket.DialOptions{
		HTTPClient: inside, Subprotocols: []string{"gohub.v1"},
		HTTPHeader: http.Header{"Cookie": r.Header.Values("Cookie")},
	})
	if err != nil {
		_ = page.Close(websocket.StatusTryAgainLater, "")
		return
	}
	defer hub.CloseNow()
	hub.SetReadLimit(4 << 20)
	since, _ := strconv.ParseInt(r.FormValue("since"), 10, 64) // else from the start
	if wsjson.Write(ctx, hub, map[string]any{"type": "join", "ref": 1, "room": chat.Room, "since": since}) != nil {
		return
	}
	go func() { // ends with ctx, that is with the page or the hub
		defer cancel()
		forms(ctx, page, hub)
	}()
	v := view{acked: map[string]bool{}}
	for {
		var f frame
		if wsjson.Read(ctx, hub, &f) != nil {
			_ = page.Close(websocket.StatusServiceRestart, "") // the page comes back
			return
		}
		if u, ok := v.update(ctx, f); ok && wsjson.Write(ctx, page, u) != nil {
			return
		}
	}
}

// forms passes on what the page sends until one of the two is gone.
func forms(ctx context.Context, page, hub *websocket.Conn) {
	for {
		var form struct {
			ID, Text string
			Typing   bool
		}
		if wsjson.Read(ctx, page, &form) != nil {
			return
		}
		out := map[string]any{"type": "typing", "room": chat.Room, "active": form.Text != ""}
		if !form.Typing {
			out = map[string]any{"type": "publish", "room": chat.Room, "id": form.ID, "body": map[string]string{"text": form.Text}}
		}
		if wsjson.Write(ctx, hub, out) != nil {
			return
		}
	}
}

// A frame is what of gohub.v1 the page shows.
type frame struct {
	Type, ID, Sender, User, Message string
	Seq                             int64
	Body                            json.RawMessage
	Active                          bool
	Members, Count                  int
}

// An update is what hx-ws swaps in.
type update struct {
	Content string `json:"content"`
	Target  string `json:"target"`
	Swap    string `json:"swap"`
}

type view struct {
	last   int64           // seq of the newest message shown
	acked  map[string]bool // ids whose ack has come before their message
	typing []string
}

func (v *view) update(ctx context.Context, f frame) (update, bool) {
	switch f.Type {
	case "message":
		v.last = f.Seq
		v.typing = slices.DeleteFunc(v.typing, func(user string) bool { return user == f.Sender })
		r := chat.RowOf(gohub.Message{ID: f.ID, Seq: f.Seq, Sender: f.Sender, Body: f.Body})
		status, mark := "", ""
		if v.acked[f.ID] {
			status, mark = "saved", "✓"
			delete(v.acked, f.ID)
		}
		return update{html(ctx, row(r, status, mark), sent(f.ID)), "#rows", "beforeend"}, true
	case "ack":
		if f.Seq > v.last {
			v.acked[f.ID] = true
			return update{}, false
		}
		return update{html(ctx, tick(f.ID, "saved", "✓")), "#t-" + f.ID, "outerHTML"}, true
	case "error":
		return update{html(ctx, failed(f.Message)), "#p-" + f.ID + " small", "outerHTML"}, f.ID != ""
	case "typing":
		v.typing = slices.DeleteFunc(v.typing, func(user string) bool { return user == f.User })
		if f.Active {
			v.typing = append(v.typing, f.User)
		}
		line := ""
		if len(v.typing) > 0 {
			line = templ.EscapeString(strings.Join(v.typing, ", ")) + " …"
		}
		return update{line, "#typing", "innerHTML swapEmpty:true"}, true
	case "joined", "members":
		return update{strconv.Itoa(max(f.Members, f.Count)) + " here", "#members", "innerHTML"}, true
	}
	return update{}, false
}

func html(ctx context.Context, parts ...templ.Component) string {
	var b bytes.Buffer
	for _, p := range parts {
		_ = p.Render(ctx, &b) // a buffer takes all
	}
	return b.String()
}
