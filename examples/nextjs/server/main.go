// Command server is the Go half of the Next.js example: the hub, the login, and
// the newest messages as JSON, for Next.js to render.
//
//	go run ./examples/nextjs/server
//
// Logging in takes a name and no password. It is a demonstration.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"slices"
	"time"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/auth"
)

const room = "lobby"

func main() {
	addr := flag.String("addr", "localhost:8080", "where to listen")
	origin := flag.String("origin", "http://localhost:3000", "where Next.js is, as browsers see it")
	flag.Parse()
	handler, err := newServer(*origin)
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: *addr, Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.ListenAndServe())
}

func newServer(origin string) (http.Handler, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // logins end with the process
	if err != nil {
		return nil, err
	}
	users, err := auth.New(auth.Config{
		Keys:   []auth.Key{{ID: "1", Algorithm: auth.ES256, Key: key}},
		Issuer: "nextjs-example", Audience: "nextjs-example", Insecure: true, // http://localhost
	})
	if err != nil {
		return nil, err
	}
	// A day, for brevity: with the default of 5 minutes the page has to refresh it.
	logins, err := auth.NewLogins(users, auth.LoginConfig{Access: 24 * time.Hour})
	if err != nil {
		return nil, err
	}
	hub, err := gohub.New(gohub.Config{Authenticator: users, Origins: []string{origin}})
	if err != nil {
		return nil, err
	}
	cors, err := auth.CORS(auth.CORSConfig{Origins: []string{origin}}) // negotiate tells the page why it is refused
	if err != nil {
		return nil, err
	}

	pages := http.NewCrossOriginProtection() // a login comes from the page, by way of Next.js
	if err := pages.AddTrustedOrigin(origin); err != nil {
		return nil, err
	}

	mux := http.NewServeMux()
	mux.Handle("GET /ws", hub.Handler())
	mux.HandleFunc("GET /messages", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store") // it is for one user
		who, err := users.Authenticate(r)
		if err == nil {
			err = gohub.ListedRooms(r.Context(), who, gohub.RoomID{Name: room}) // History asks nobody
		}
		if err != nil {
			http.Error(w, "log in first", http.StatusUnauthorized)
			return
		}
		messages, err := newest(hub, r, who.User)
		if err != nil {
			http.Error(w, "no history", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"user": who.User, "messages": messages}) // the client may be gone
	})
	login := func(w http.ResponseWriter, r *http.Request) {
		if err := logins.Start(w, r, gohub.Identity{User: r.PostFormValue("user")}); err != nil {
			http.Error(w, "a name has 1 to 63 of the letters a-z, digits, and . _ : -", http.StatusBadRequest)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
	mux.Handle("POST /login", pages.Handler(http.HandlerFunc(login)))
	return cors(mux), nil
}

// A message as the JavaScript client has it.
type message struct {
	ID     string          `json:"id"`
	Room   string          `json:"room"`
	Seq    int64           `json:"seq"`
	Sender string          `json:"sender"`
	Kind   string          `json:"kind"`
	Body   json.RawMessage `json:"body"`
}

// newest gives the last 50 messages that user may see, the oldest of them first.
func newest(hub *gohub.Hub, r *http.Request, user string) ([]message, error) {
	const most = 50
	list := make([]message, 0, most)
	q := gohub.Query{Room: gohub.RoomID{Name: room}, Viewer: user, Newest: true, Limit: most}
	for m, err := range hub.History(r.Context(), q) {
		if err != nil {
			return nil, err
		}
		if m.Binary {
			continue // this page shows text
		}
		list = append(list, message{m.ID, room, m.Seq, m.Sender, m.Kind, m.Body})
		if len(list) == most {
			break
		}
	}
	slices.Reverse(list)
	return list, nil
}
