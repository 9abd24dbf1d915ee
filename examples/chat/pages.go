package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/a-h/templ"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/auth"
)

// pages serves what is seen in a browser, also in one without JavaScript: the
// chat as of now, and what its forms are sent to.
type pages struct {
	hub    *gohub.Hub
	store  gohub.Store
	static *static
	users  gohub.Authenticator
	logins *auth.Logins
	secure bool // for cookies
}

func (s *pages) route(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", s.chat)
	mux.HandleFunc("/login", s.login)
	mux.HandleFunc("/logout", s.logout)
	mux.HandleFunc("/refresh", s.refresh)
	for _, path := range []string{"/login", "/logout", "/refresh"} { // where the address bar may stand after a form
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusSeeOther) })
	}
	mux.HandleFunc("POST /settings", s.settings)
}

// chat answers with the chat of whoever is logged in, else with the login.
// The access cookie lives for minutes, the refresh cookie for weeks; who comes
// with the latter alone gets the frame of the page, and its script renews both
// and fills it. The server does not renew here: the answer to a GET may be thrown
// away, by a prefetch or an impatient reader, and with it a refresh token that
// then counts as stolen. Nor does it show anything: a copied refresh cookie would
// be good for reading, and nobody would notice.
func (s *pages) chat(w http.ResponseWriter, r *http.Request) {
	pageOf := s.build
	who, err := s.users.Authenticate(r)
	if isCode(err, gohub.CodeUnauthorized) { // anything else does not tell who it is
		pageOf = s.frame
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		who, err = s.logins.Peek(r.WithContext(ctx))
		if errors.Is(err, auth.ErrReused) {
			err = nil // the script's POST ends that login, and tells the user
		}
	}
	if err == nil {
		p, status := pageOf(r, who), http.StatusOK
		if p.Closed {
			status = http.StatusForbidden
		}
		render(w, r, status, chatPage(p))
		return
	}
	p, status, problem := s.blank(r), http.StatusOK, ""
	if !isCode(err, gohub.CodeUnauthorized) && !isCode(err, gohub.CodeForbidden) {
		status, problem = http.StatusServiceUnavailable, p.T("login.unavailable")
	}
	render(w, r, status, loginPage(p, "", problem))
}

func isCode(err error, code gohub.Code) bool {
	e, ok := errors.AsType[*gohub.Error](err)
	return ok && e.Code == code
}

// login is that of auth. A browser that sent the form gets a page: the chat, or
// the form again and why.
func (s *pages) login(w http.ResponseWriter, r *http.Request) {
	if !wantsPage(r) {
		s.logins.Login(w, r)
		return
	}
	answer := &headless{ResponseWriter: w, status: http.StatusOK}
	s.logins.Login(answer, r)
	p := s.blank(r)
	p.Back = localAddress(r.PostForm.Get("back"))
	problem := "login.unavailable"
	switch answer.status {
	case http.StatusOK:
		w.Header().Del("Content-Type")
		http.Redirect(w, r, p.Back, http.StatusSeeOther) //nolint:gosec // localAddress has seen to that
		return
	case http.StatusBadRequest:
		problem = "login.invalid"
	}
	render(w, r, answer.status, loginPage(p, r.PostForm.Get("user"), p.T(problem)))
}

// refresh is that of auth. Without the script it is a button on a page that has
// the frame alone.
func (s *pages) refresh(w http.ResponseWriter, r *http.Request) {
	if !wantsPage(r) {
		s.logins.Refresh(w, r)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	back := localAddress(r.PostFormValue("back")) // "/", if that cannot be read
	_, found := s.logins.Peek(r)
	answer := &headless{ResponseWriter: w, status: http.StatusOK}
	s.logins.Refresh(answer, r)
	p, problem := s.blank(r), ""
	p.Back = back
	switch {
	case answer.status == http.StatusUnauthorized && errors.Is(found, auth.ErrReused):
		p.Notice = p.T("reused.text")
	case answer.status == http.StatusOK, answer.status == http.StatusUnauthorized: // to the login
		w.Header().Del("Content-Type")
		http.Redirect(w, r, back, http.StatusSeeOther) //nolint:gosec // localAddress has seen to that
		return
	default:
		problem = p.T("login.unavailable")
	}
	render(w, r, answer.status, loginPage(p, "", problem))
}

// logout is that of auth, and leads a browser back to the login.
func (s *pages) logout(w http.ResponseWriter, r *http.Request) {
	if !wantsPage(r) {
		s.logins.Logout(w, r)
		return
	}
	answer := &headless{ResponseWriter: w, status: http.StatusOK}
	s.logins.Logout(answer, r)
	w.Header().Del("Content-Type")
	if answer.status == http.StatusNoContent {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	p := s.blank(r)
	p.Back = "/"
	render(w, r, answer.status, loginPage(p, "", p.T("login.unavailable")))
}

// settings keeps the theme and the language that a form names, in cookies that
// the script may read and set as well.
func (s *pages) settings(w http.ResponseWriter, r *http.Request) {
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		problem{http.StatusForbidden, "pages of this origin may not do that"}.write(w)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	if err := r.ParseForm(); err != nil {
		problem{http.StatusBadRequest, "the request could not be read"}.write(w)
		return
	}
	var langs []string
	for _, l := range locales {
		langs = append(langs, l.Lang)
	}
	for _, c := range []struct {
		field, cookie string
		allowed       []string
	}{{"theme", themeCookie, themes}, {"lang", langCookie, langs}} {
		if value := r.PostForm.Get(c.field); slices.Contains(c.allowed, value) {
			http.SetCookie(w, &http.Cookie{ //nolint:gosec // the script may read it, and Secure is of TLS
				Name: c.cookie, Value: value, Path: "/", MaxAge: 365 * 24 * 60 * 60, Secure: s.secure, SameSite: http.SameSiteLaxMode,
			})
		}
	}
	if wantsPage(r) {
		http.Redirect(w, r, localAddress(r.PostForm.Get("back")), http.StatusSeeOther) //nolint:gosec // localAddress sees to that
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// wantsPage tells a browser that goes somewhere from a script and from curl.
func wantsPage(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// localAddress is the address if it is one of the page's, and else the page's
// own: nobody is led elsewhere by a link that somebody made.
func localAddress(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Path != "/" {
		return "/"
	}
	return (&url.URL{Path: "/", RawQuery: u.RawQuery}).String()
}

// headless keeps what a handler answers but the headers.
type headless struct {
	http.ResponseWriter
	status int
}

func (h *headless) WriteHeader(status int)      { h.status = status }
func (h *headless) Write(b []byte) (int, error) { return len(b), nil }

// render answers with a page. It depends on cookies, and is never cached.
// Compressed pages tell by their length what repeats in them; a name of random
// length in front of each blurs that.
func render(w http.ResponseWriter, r *http.Request, status int, c templ.Component) {
	var html bytes.Buffer
	if err := c.Render(r.Context(), &html); err != nil {
		problem{http.StatusServiceUnavailable, "the page could not be made"}.write(w)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept-Encoding")
	out := html.Bytes()
	if takesGzip(r) {
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		zip.Name = (rand.Text() + rand.Text())[:mathrand.IntN(52)] //nolint:gosec // a length that differs, no secret
		_, _ = zip.Write(out)                                      // a Buffer takes everything
		_ = zip.Close()
		h.Set("Content-Encoding", "gzip")
		out = b.Bytes()
	}
	h.Set("Content-Length", strconv.Itoa(len(out)))
	w.WriteHeader(status)
	_, _ = w.Write(out) // fails only when the client is gone
}
