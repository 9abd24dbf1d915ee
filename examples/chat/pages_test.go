package main

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub"
)

// submit sends a form as a browser without the script does.
func submit(h http.Handler, path string, fields url.Values, cookies []*http.Cookie, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", path, strings.NewReader(fields.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	for _, c := range cookies {
		r.AddCookie(c)
	}
	return do(h, r)
}

func TestLoginWithoutScript(t *testing.T) {
	s := newStage(t, nil)
	s.say("bob", "garden", "hello")
	page := readPage(t, do(s.app.handler, httptest.NewRequest("GET", "/?room=garden", nil)))
	assert.Equal(t, http.StatusOK, page.status)
	assert.NotContains(t, page.html, "hello")
	assert.Regexp(t, `/names\.js$`, page.one(t, "script").attrs["src"], "it only checks the name before that is sent")
	form := page.one(t, "form.card")
	assert.Equal(t, "post", form.attrs["method"])
	fields := url.Values{}
	for _, in := range form.all("input") {
		fields.Set(in.attrs["name"], in.attrs["value"])
	}
	fields.Set("user", "alice")

	in := submit(s.app.handler, form.attrs["action"], fields, nil)
	require.Equal(t, http.StatusSeeOther, in.Code)
	assert.Equal(t, "/?room=garden", in.Header().Get("Location"))
	assert.Empty(t, in.Header().Get("Content-Type"))
	chat := readPage(t, do(s.app.handler, withCookies(in, "GET", in.Header().Get("Location"))))
	assert.Equal(t, []string{"hello"}, chat.bubbles())
	assert.True(t, chat.one(t, "button#send").is("disabled"))
	assert.Contains(t, chat.one(t, "noscript").words(), "JavaScript")

	out := submit(s.app.handler, chat.one(t, "form#logout").attrs["action"], nil, in.Result().Cookies())
	require.Equal(t, http.StatusSeeOther, out.Code)
	assert.Equal(t, "/", out.Header().Get("Location"))
	for _, c := range out.Result().Cookies() {
		assert.Negative(t, c.MaxAge, c.Name)
	}
	assert.Len(t, readPage(t, do(s.app.handler, withCookies(in, "GET", "/"))).all("ol#messages"), 1, "the access token lives on, as it does")

	for name, user := range map[string]string{"none": "", "bad": attack} {
		w := submit(s.app.handler, "/login", url.Values{"user": {user}, "back": {"/?room=garden"}}, nil)
		page := readPage(t, w)
		assert.Equal(t, http.StatusBadRequest, page.status, name)
		assert.Empty(t, w.Result().Cookies())
		assert.Equal(t, locales[0].T("login.invalid"), page.one(t, "p#user-error").words())
		assert.Equal(t, user, page.one(t, "input#user").attrs["value"], "what was typed is there to be mended")
		assert.True(t, page.one(t, "input#user").is("aria-invalid"))
		assert.Equal(t, "/?room=garden", page.one(t, "form.card").all("input")[1].attrs["value"])
	}

	evil := submit(s.app.handler, "/login", url.Values{"user": {"alice"}}, nil, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")
	assert.Equal(t, http.StatusForbidden, evil.Code)
	assert.Empty(t, evil.Result().Cookies())
}

func TestLeadsNowhereElse(t *testing.T) {
	for back, want := range map[string]string{
		"":                         "/",
		"/":                        "/",
		"/?room=@alice,bob":        "/?room=@alice,bob",
		"/?room=a&before=1#x":      "/?room=a&before=1",
		"https://evil.example/":    "/",
		"//evil.example/":          "/",
		`/\evil.example/`:          "/",
		`\\evil.example`:           "/",
		"/\t/evil.example":         "/",
		"/logout":                  "/",
		"javascript:alert(1)":      "/",
		"/?x\r\nSet-Cookie: a=b":   "/",
		"?room=a":                  "/",
		"/%2f/evil.example":        "/",
		"http:///?room=a":          "/",
		"//user@evil.example/?a=b": "/",
	} {
		assert.Equal(t, want, localAddress(back), back)
	}
}

// onlyRefresh gives the cookie that is left of a login after some minutes.
func onlyRefresh(t *testing.T, in *httptest.ResponseRecorder) *http.Cookie {
	t.Helper()
	for _, c := range in.Result().Cookies() {
		if strings.HasSuffix(c.Name, "-refresh") {
			return c
		}
	}
	require.Fail(t, "no refresh cookie")
	return nil
}

// The access cookie is gone after minutes. The frame of the page comes up all the
// same, and its script is told to renew; the refresh token is as good as before.
// Nothing is to be read: the cookie may have been copied, and who only looks with
// it is not found out.
func TestPageWithRefreshCookieAlone(t *testing.T) {
	s := newStage(t, nil)
	m := s.say("bob", "general", "hello")
	s.say("bob", "garden", "what grows")
	s.say("bob", "@alice,bob", "dear alice")
	s.mark("alice", "garden", 0, 0)
	s.mark("bob", "general", m.Seq, m.Seq)
	in := do(s.app.handler, loginRequest("alice"))
	refresh := onlyRefresh(t, in)
	get := func(address string) visit {
		r := httptest.NewRequest("GET", address, nil)
		r.AddCookie(refresh)
		w := do(s.app.handler, r)
		assert.Empty(t, w.Result().Cookies(), "a GET renews nothing")
		return readPage(t, w)
	}
	for address, room := range map[string]string{"/": "general", "/?room=garden": "garden", "/?room=@alice,bob": "@alice,bob"} {
		v := get(address)
		assert.Equal(t, http.StatusOK, v.status)
		assert.Empty(t, v.bubbles())
		for _, private := range []string{"hello", "what grows", "dear alice"} {
			assert.NotContains(t, v.html, private, address)
		}
		if room != "garden" {
			assert.NotContains(t, v.html, "garden", address)
		}
		assert.Equal(t, "alice", v.boot.User)
		assert.Zero(t, v.boot.Expires)
		assert.Equal(t, room, v.boot.Room)
		assert.Nil(t, v.boot.Since, "the script fetches everything")
		assert.Nil(t, v.boot.Rooms)
		assert.Empty(t, v.boot.Others)
		assert.Zero(t, v.boot.Marks)
		assert.Zero(t, v.boot.Seen)
		assert.False(t, v.boot.Complete)
		assert.Equal(t, presets, v.boot.Presets)
		assert.True(t, v.one(t, "p#beginning").is("hidden"))
		assert.False(t, v.one(t, "header#banner").has("on"), "it is no trouble")
	}
	assert.Equal(t, http.StatusForbidden, get("/?room=@bob,carol").status)

	// Without the script there is a button. It leads back, to a page that is whole.
	form := get("/?room=garden").one(t, "noscript").one(t, "form")
	require.Equal(t, "post", form.attrs["method"])
	fields := url.Values{}
	for _, in := range form.all("input") {
		fields.Set(in.attrs["name"], in.attrs["value"])
	}
	renewed := submit(s.app.handler, form.attrs["action"], fields, []*http.Cookie{refresh})
	require.Equal(t, http.StatusSeeOther, renewed.Code)
	assert.Equal(t, "/?room=garden", renewed.Header().Get("Location"))
	whole := readPage(t, do(s.app.handler, withCookies(renewed, "GET", "/?room=garden")))
	assert.Equal(t, []string{"what grows"}, whole.bubbles())
	assert.Empty(t, whole.one(t, "noscript").all("form"))
	refresh = onlyRefresh(t, renewed)

	require.Equal(t, http.StatusNoContent, do(s.app.handler, withCookies(renewed, "POST", "/logout")).Code)
	gone := get("/")
	assert.Len(t, gone.all("form.card"), 1)
	out := submit(s.app.handler, "/refresh", url.Values{"back": {"https://evil.example"}}, []*http.Cookie{refresh})
	require.Equal(t, http.StatusSeeOther, out.Code)
	assert.Equal(t, "/", out.Header().Get("Location"))
	evil := submit(s.app.handler, "/refresh", nil, []*http.Cookie{refresh}, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")
	assert.Equal(t, http.StatusForbidden, evil.Code)
	assert.Empty(t, evil.Result().Cookies())
}

// Who comes with a refresh token that was exchanged before is not shown the login
// as if nothing had happened: the script, or the button without it, sounds the alarm.
func TestPageWithAStolenLogin(t *testing.T) {
	s := newStage(t, nil)
	s.say("bob", "general", "hello")
	first := onlyRefresh(t, do(s.app.handler, loginRequest("alice")))
	get := func() visit {
		r := httptest.NewRequest("GET", "/", nil)
		r.AddCookie(first)
		return readPage(t, do(s.app.handler, r))
	}
	thief := first
	for range 2 {
		renewed := submit(s.app.handler, "/refresh", nil, []*http.Cookie{thief})
		require.Equal(t, http.StatusSeeOther, renewed.Code)
		thief = onlyRefresh(t, renewed)
	}
	frame := get()
	assert.Equal(t, "alice", frame.boot.User)
	assert.NotContains(t, frame.html, "hello")
	require.Len(t, frame.one(t, "noscript").all("form"), 1)

	w := submit(s.app.handler, "/refresh", nil, []*http.Cookie{first}, "Accept-Language", "de")
	require.Equal(t, http.StatusUnauthorized, w.Code)
	alarm := readPage(t, w)
	assert.Contains(t, alarm.one(t, "form.card").words(), locales[1].T("reused.text"))
	for _, c := range w.Result().Cookies() {
		assert.Negative(t, c.MaxAge, c.Name)
	}
	gone := submit(s.app.handler, "/refresh", nil, []*http.Cookie{thief})
	assert.Equal(t, http.StatusSeeOther, gone.Code, "the thief is out, too")
	assert.Len(t, get().all("form.card"), 1)
}

// Only where nobody is logged in by the access cookie does the other one count.
func TestAccessThatCannotBeChecked(t *testing.T) {
	s := newStage(t, nil)
	past := historyOfTest(t)
	_, logins, err := newAuth(config{}, past.accounts, slog.New(slog.DiscardHandler), func(context.Context, gohub.Identity, string) error { return nil })
	require.NoError(t, err)
	in := httptest.NewRecorder()
	require.NoError(t, logins.Start(in, httptest.NewRequest("POST", "/", nil), gohub.Identity{User: "alice"}))
	files, err := newStatic()
	require.NoError(t, err)
	for _, tt := range []struct {
		err    error
		status int
		chat   bool
	}{
		{gohub.Errorf(gohub.CodeUnauthorized, "too old"), http.StatusOK, true},
		{gohub.Errorf(gohub.CodeForbidden, "locked out"), http.StatusOK, false},
		{gohub.Errorf(gohub.CodeUnavailable, "no keys"), http.StatusServiceUnavailable, false},
		{errors.New("a bug"), http.StatusServiceUnavailable, false},
	} {
		users := gohub.AuthenticatorFunc(func(*http.Request) (gohub.Identity, error) { return gohub.Identity{}, tt.err })
		mux := http.NewServeMux()
		(&pages{hub: s.app.hub, store: s.store, static: files, users: users, logins: logins}).route(mux)
		v := readPage(t, do(mux, withCookies(in, "GET", "/")))
		assert.Equal(t, tt.status, v.status, tt.err)
		assert.Equal(t, tt.chat, len(v.all("ol#messages")) == 1, tt.err)
		assert.Equal(t, !tt.chat, len(v.all("form.card")) == 1, tt.err)
	}
}

// After a form that was refused the address is the form's, and is loaded again.
func TestAddressesOfForms(t *testing.T) {
	h := testApp(t, config{}).handler
	for _, address := range []string{"/login", "/logout", "/refresh"} {
		for _, method := range []string{"GET", "HEAD"} {
			w := do(h, httptest.NewRequest(method, address, nil))
			assert.Equal(t, http.StatusSeeOther, w.Code, address)
			assert.Equal(t, "/", w.Header().Get("Location"), address)
		}
		w := do(h, httptest.NewRequest("PUT", address, nil))
		assert.Equal(t, http.StatusMethodNotAllowed, w.Code, address)
		assert.Equal(t, "POST", w.Header().Get("Allow"), address)
	}
}

func TestSettings(t *testing.T) {
	for _, secure := range []bool{false, true} {
		h := testApp(t, config{tls: secure}).handler
		w := submit(h, "/settings", url.Values{"theme": {"dark"}, "lang": {"de"}, "back": {"/?room=garden"}}, nil)
		require.Equal(t, http.StatusSeeOther, w.Code)
		assert.Equal(t, "/?room=garden", w.Header().Get("Location"))
		require.Len(t, w.Result().Cookies(), 2)
		for _, c := range w.Result().Cookies() {
			assert.Equal(t, secure, c.Secure)
			assert.Equal(t, http.SameSiteLaxMode, c.SameSite)
		}
		page := readPage(t, do(h, withCookies(w, "GET", "/")))
		assert.Equal(t, "dark", page.one(t, "html").attrs["data-theme"])
		assert.Equal(t, "dark", page.all("meta")[2].attrs["content"])
		assert.Equal(t, "de", page.one(t, "html").attrs["lang"])
		assert.Equal(t, "Anmelden", page.one(t, "button.primary").words())

		assert.Equal(t, http.StatusNoContent, submit(h, "/settings", url.Values{"theme": {"contrast"}}, nil, "Accept", "*/*").Code)
		bad := submit(h, "/settings", url.Values{"theme": {attack}, "lang": {"tlh"}, "back": {"https://evil.example"}}, nil)
		assert.Equal(t, "/", bad.Header().Get("Location"))
		assert.Empty(t, bad.Result().Cookies())
		evil := submit(h, "/settings", url.Values{"theme": {"dark"}}, nil, "Sec-Fetch-Site", "cross-site")
		assert.Equal(t, http.StatusForbidden, evil.Code)
		assert.Empty(t, evil.Result().Cookies())
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", `chat-theme="><script>; chat-lang=xx`)
	page := readPage(t, do(testApp(t, config{}).handler, r))
	assert.Equal(t, "system", page.one(t, "html").attrs["data-theme"])
	assert.Equal(t, "en", page.one(t, "html").attrs["lang"])
}

func TestGermanPage(t *testing.T) {
	s := newStage(t, nil)
	first := s.say("bob", "general", "Hallo")
	s.say("bob", "general", "Welt")
	s.mark("alice", "general", 0, first.Seq)
	v := s.visit("alice", "/", "Accept-Language", "fr, de-AT;q=0.9, en;q=0.5")
	assert.Equal(t, "de", v.one(t, "html").attrs["lang"])
	assert.Equal(t, "Neu", v.one(t, "li.divider").words())
	assert.Equal(t, ", 1 ungelesen", v.one(t, "ul#rooms").all("span.unread")[0].words())
	assert.Equal(t, "0 Personen hier", v.one(t, "p#subtitle").words())
	assert.Equal(t, "{n} Person hier", v.boot.Strings["room.people"].One)
	assert.Equal(t, "sagt, was du tust", v.boot.Commands[1].Help)
}

// Each tab is a device of its own, if its login is of none.
func TestDeviceOfTheQuery(t *testing.T) {
	who := gohub.Identity{User: "alice"}
	auth := fromPage(gohub.AuthenticatorFunc(func(*http.Request) (gohub.Identity, error) { return who, nil }))
	device := func(query string) string {
		got, err := auth.Authenticate(httptest.NewRequest("GET", "/ws?device="+query, nil))
		require.NoError(t, err)
		return got.Device
	}
	assert.Equal(t, "tab-1", device("tab-1"))
	assert.Empty(t, device(""))
	assert.Empty(t, device(url.QueryEscape("<b>")))
	who.Device = "phone"
	assert.Equal(t, "phone", device("tab-1"))
}

// A compressed page tells by its length what repeats in it, so that is blurred.
func TestPageIsCompressed(t *testing.T) {
	s := newStage(t, nil)
	s.say("bob", "general", "hello")
	in := do(s.app.handler, loginRequest("alice"))
	lengths := map[string]bool{}
	for range 20 {
		r := withCookies(in, "GET", "/")
		r.Header.Set("Accept-Encoding", "br, gzip")
		w := do(s.app.handler, r)
		assert.Equal(t, "gzip", w.Header().Get("Content-Encoding"))
		assert.Contains(t, w.Header().Values("Vary"), "Accept-Encoding")
		lengths[w.Header().Get("Content-Length")] = true
		unzipped, err := gzip.NewReader(w.Body)
		require.NoError(t, err)
		html, err := io.ReadAll(unzipped)
		require.NoError(t, err)
		assert.Contains(t, string(html), ">hello<")
	}
	assert.Greater(t, len(lengths), 5)
	assert.Empty(t, do(s.app.handler, withCookies(in, "GET", "/")).Header().Get("Content-Encoding"))
}
