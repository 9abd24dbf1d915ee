package main

import (
	"container/list"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gohub/gohub"
)

const (
	cookieName  = "gohub_chat"
	loginTTL    = 24 * time.Hour
	maxLogins   = 10_000 // the login used longest ago makes room for the next
	maxLoginLen = 4 << 10
)

// A login is what a cookie stands for.
type login struct {
	token   string
	user    string
	device  string // empty: every connection is a session of its own
	expires time.Time
}

// logins keeps who is logged in, by the random token that the cookie holds.
// They end with the process; the page then logs in again by itself.
type logins struct {
	log *slog.Logger
	max int

	mu      sync.Mutex // protects what follows
	byToken map[string]*list.Element
	recent  *list.List // of login, the one used last in front
}

func newLogins(log *slog.Logger, limit int) *logins {
	return &logins{log: log, max: limit, byToken: map[string]*list.Element{}, recent: list.New()}
}

func (l *logins) add(user, device string) login {
	in := login{token: rand.Text(), user: user, device: device, expires: time.Now().Add(loginTTL)}
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.recent.Len() >= l.max {
		l.removeLocked(l.recent.Back())
	}
	l.byToken[in.token] = l.recent.PushFront(in)
	return in
}

func (l *logins) remove(token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.byToken[token]; e != nil {
		l.removeLocked(e)
	}
}

func (l *logins) removeLocked(e *list.Element) {
	delete(l.byToken, l.recent.Remove(e).(login).token)
}

// of finds the login of a request.
func (l *logins) of(r *http.Request) (login, bool) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return login{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.byToken[cookie.Value]
	if e == nil {
		return login{}, false
	}
	in := e.Value.(login)
	if time.Now().After(in.expires) {
		l.removeLocked(e)
		return login{}, false
	}
	l.recent.MoveToFront(e)
	return in, true
}

// Authenticate tells the hub who is connecting.
func (l *logins) Authenticate(r *http.Request) (gohub.Identity, error) {
	in, ok := l.of(r)
	if !ok {
		return gohub.Identity{}, gohub.Errorf(gohub.CodeUnauthorized, "log in first")
	}
	return gohub.Identity{User: in.user, Name: in.user, Device: in.device, ExpiresAt: in.expires}, nil
}

// handleLogin takes a name on trust: a real service checks a password here.
func (l *logins) handleLogin(w http.ResponseWriter, r *http.Request) {
	user, device, p := readLogin(w, r)
	if p != nil {
		p.write(w)
		return
	}
	if old, err := r.Cookie(cookieName); err == nil {
		l.remove(old.Value)
	}
	in := l.add(user, device)
	l.log.Info("login", "user", user, "device", device)
	setCookie(w, r, in.token, int(loginTTL/time.Second))
	finish(w, r, func() { writeJSON(w, http.StatusOK, map[string]string{"user": user}) })
}

func (l *logins) handleLogout(w http.ResponseWriter, r *http.Request) {
	if in, ok := l.of(r); ok {
		l.remove(in.token)
		l.log.Info("logout", "user", in.user)
	}
	setCookie(w, r, "", -1)
	finish(w, r, func() { w.WriteHeader(http.StatusNoContent) })
}

// handleSession tells the page who it is, or null: a question that has an
// answer either way, where asking /ws would be an error in the console.
func (l *logins) handleSession(w http.ResponseWriter, r *http.Request) {
	var answer struct {
		User *string `json:"user"`
	}
	if in, ok := l.of(r); ok {
		answer.User = &in.user
	}
	writeJSON(w, http.StatusOK, answer)
}

func setCookie(w http.ResponseWriter, r *http.Request, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever there is TLS
		Name: cookieName, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode,
	})
}

// finish sends a browser that posted the form itself back to the page, and
// calls answer for everyone else.
func finish(w http.ResponseWriter, r *http.Request, answer func()) {
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	answer()
}

func readLogin(w http.ResponseWriter, r *http.Request) (user, device string, p *problem) {
	r.Body = http.MaxBytesReader(w, r.Body, maxLoginLen)
	var err error
	switch mt, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mt {
	case "application/json":
		var body struct{ User, Device string }
		dec := json.NewDecoder(r.Body)
		if err = dec.Decode(&body); err == nil {
			if _, more := dec.Token(); !errors.Is(more, io.EOF) {
				err = errors.New("more than one value")
			}
		}
		user, device = body.User, body.Device
	case "application/x-www-form-urlencoded":
		err = r.ParseForm()
		user, device = r.PostForm.Get("user"), r.PostForm.Get("device")
	case "multipart/form-data":
		err = r.ParseMultipartForm(maxLoginLen) //nolint:gosec // bounded by MaxBytesReader above
		user, device = r.PostForm.Get("user"), r.PostForm.Get("device")
	default:
		return "", "", &problem{http.StatusUnsupportedMediaType, "send a form or JSON"}
	}
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &tooBig):
		return "", "", &problem{http.StatusRequestEntityTooLarge, "the request is too long"}
	case err != nil:
		return "", "", &problem{http.StatusBadRequest, "the request could not be read"}
	case user == "":
		return "", "", &problem{http.StatusBadRequest, "user: give a name"}
	case !validID(user):
		return "", "", &problem{http.StatusBadRequest, "user: " + idRule}
	case device != "" && !validID(device):
		return "", "", &problem{http.StatusBadRequest, "device: " + idRule}
	}
	return user, device, nil
}

const idRule = "1 to 63 of the letters A-Z and a-z, digits, and . _ : - are allowed"

// validID holds names to what the protocol allows for user ids.
func validID(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._:-", c)
	})
}
