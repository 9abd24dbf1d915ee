// Package chat is what the Go servers of the front-end evaluation have in
// common: a hub in memory, a login by name, and the first messages of a room.
package chat

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/auth"
)

// Room is the only one.
const Room = "lobby"

// Row is a message as a page shows it.
type Row struct {
	ID     string
	Seq    string
	Sender string
	Text   string
	Clock  string // hours and minutes, UTC
}

// A Chat is a hub and who may come in.
type Chat struct {
	Hub    *gohub.Hub
	users  *auth.Authenticator
	logins *auth.Logins
}

// New makes one with the settings of a page on http://localhost.
func New() (*Chat, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c := &Chat{}
	if c.users, err = auth.New(auth.Config{
		Keys:   []auth.Key{{ID: "1", Algorithm: auth.ES256, Key: key}},
		Issuer: "evaluation", Audience: "evaluation", Insecure: true,
	}); err != nil {
		return nil, err
	}
	// A day: what is measured is a page, not how it renews its login.
	if c.logins, err = auth.NewLogins(c.users, auth.LoginConfig{Access: 24 * time.Hour}); err != nil {
		return nil, err
	}
	c.Hub, err = gohub.New(gohub.Config{Authenticator: c.users})
	return c, err
}

// User is who a request comes from; "": nobody who is logged in.
func (c *Chat) User(r *http.Request) string {
	who, err := c.users.Authenticate(r)
	if err != nil {
		return ""
	}
	return who.User
}

// Login takes the name on trust, and leads to the page.
func (c *Chat) Login(w http.ResponseWriter, r *http.Request) {
	if err := c.logins.Start(w, r, gohub.Identity{User: r.PostFormValue("user")}); err != nil {
		http.Error(w, "that is no name", http.StatusBadRequest)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// FirstPaint is what a page begins with: the user and the newest messages of
// the room, the oldest of them first. Nobody, if nobody is logged in.
func (c *Chat) FirstPaint(r *http.Request) (user string, rows []Row, err error) {
	const most = 50
	if user = c.User(r); user == "" {
		return "", nil, nil
	}
	q := gohub.Query{Room: gohub.RoomID{Name: Room}, Viewer: user, Newest: true, Limit: most}
	for m, err := range c.Hub.History(r.Context(), q) {
		if err != nil {
			return "", nil, err
		}
		if rows = append(rows, RowOf(m)); len(rows) == most {
			break
		}
	}
	slices.Reverse(rows)
	return user, rows, nil
}

// RowOf reads a message of {"text": …}.
func RowOf(m gohub.Message) Row {
	var body struct{ Text string }
	_ = json.Unmarshal(m.Body, &body) // of another shape: an empty line
	return Row{
		ID: m.ID, Seq: strconv.FormatInt(m.Seq, 10), Sender: m.Sender, Text: body.Text,
		Clock: m.Time().UTC().Format("15:04"),
	}
}
