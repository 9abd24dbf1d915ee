package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/origin"
	"github.com/gohub/gohub/internal/problem"
	"github.com/gohub/gohub/internal/wire"
)

// LoginConfig says how a service's own logins work. The zero value of every
// field but Check is a working default.
type LoginConfig struct {
	// Check says who logs in with a request, by whatever it has: a form, JSON.
	// Its body has 64 KiB at most. An [*gohub.Error] chooses what the client is
	// told; any other error is 401, and its text goes to the log at Debug.
	// How often somebody may try is its business. Required for
	// [Logins.Login], not for [Logins.Start].
	Check func(r *http.Request) (gohub.Identity, error)
	// Recheck is asked at every refresh who the user is now: name, rooms and
	// claims may have changed, User and Tenant may not. An [*gohub.Error] with
	// unauthorized or forbidden ends the login; any other error means that it cannot
	// be said now. [Logins.Peek] asks as well, and ends nothing: it has to be
	// without effects. nil: as at the login.
	Recheck func(ctx context.Context, who gohub.Identity) (gohub.Identity, error)
	// Ended is told that a login has ended, before the client is: by a
	// logout, a refresh token used twice, or Recheck. Live sessions are the hub's,
	// so it is here that they are closed, by Hub.Revoke with who's Tenant, User and
	// Login; after EndUser there is no Login, and they are all of the user's.
	// It may be called more than once for a login, and is not for those that
	// merely expire.
	Ended func(ctx context.Context, who gohub.Identity)
	// Reused is told when a login ends because its refresh token was used
	// twice, so that somebody may have stolen it: the user should hear of it. It is
	// called before Ended; sessions that it closes by Hub.Revoke hear its reason.
	// Like Ended it may be called more than once for a login.
	Reused func(ctx context.Context, who gohub.Identity)

	// Families keeps the logins. Defaults to NewMemoryFamilies().
	Families Families
	// Access is how long an access token is good for, which bounds how long
	// one that has been stolen is. Defaults to 5 min, at least 1 s.
	Access time.Duration
	// Life is how long a login lasts, however often it is refreshed.
	// Defaults to 30 days, at least Access.
	Life time.Duration
	// Grace is for how long the refresh token before the newest one is
	// answered with the newest one: tabs refresh at the same time, and answers get
	// lost. Defaults to 10 s. -1: none.
	Grace time.Duration
	// SameSite of the cookies. Defaults to http.SameSiteLaxMode. None is for
	// pages of other sites in Origins.
	SameSite http.SameSite
	// Origins lists the origins, besides the request's own host, whose pages
	// may log in, refresh and log out: the same list as gohub.Config.Origins
	// and [CORSConfig], but without "*".
	Origins []string
}

// Logins gives tokens to users who have shown who they are, as two cookies
// that scripts cannot read: the access token, which the Authenticator takes,
// and a refresh token, which gets new ones of both. Its handlers take POSTs
// of pages of the service's own origin and of Origins. Mount those that are
// wanted anywhere. All methods are safe for concurrent use.
type Logins struct {
	a      *Authenticator
	cfg    LoginConfig
	cross  http.CrossOriginProtection
	cookie string // of the refresh token
}

// NewLogins makes Logins whose tokens a takes. An error names the field that
// cannot be.
func NewLogins(a *Authenticator, cfg LoginConfig) (*Logins, error) {
	switch {
	case a.signer == nil:
		return nil, errors.New("auth: logins need a key to sign with: Config.Keys has none with a private part")
	case a.cfg.Cookie == "":
		return nil, errors.New("auth: logins need Config.Cookie")
	case !a.cfg.Insecure && !strings.HasPrefix(a.cfg.Cookie, hostPrefix):
		return nil, fmt.Errorf("auth: Config.Cookie is %q: for logins it must begin with __Host-, unless Insecure", a.cfg.Cookie)
	case a.cfg.Insecure && strings.HasPrefix(a.cfg.Cookie, "__"):
		return nil, fmt.Errorf("auth: Config.Cookie is %q: browsers take no such cookie that is not Secure", a.cfg.Cookie)
	}
	for _, o := range cfg.Origins {
		if o == origin.Any || !origin.ValidEntry(o) {
			return nil, fmt.Errorf("auth: LoginConfig.Origins has %q: cookies need scheme://host or scheme://*.host, with a port where it has one", o)
		}
	}
	if cfg.Families == nil {
		cfg.Families = NewMemoryFamilies()
	}
	if cfg.SameSite == 0 || cfg.SameSite == http.SameSiteDefaultMode {
		cfg.SameSite = http.SameSiteLaxMode
	}
	if cfg.SameSite == http.SameSiteNoneMode && a.cfg.Insecure {
		return nil, errors.New("auth: LoginConfig.SameSite is None: browsers want that Secure, and Config is Insecure")
	}
	for _, f := range []struct {
		name     string
		v        *time.Duration
		def, min time.Duration
	}{
		{"Access", &cfg.Access, 5 * time.Minute, time.Second},
		{"Life", &cfg.Life, 30 * 24 * time.Hour, 0}, // at least Access: below
		{"Grace", &cfg.Grace, 10 * time.Second, 0},
	} {
		switch {
		case *f.v == 0:
			*f.v = f.def
		case *f.v == -1 && f.name == "Grace":
			*f.v = 0
		case *f.v < f.min:
			return nil, fmt.Errorf("auth: LoginConfig.%s is %v: the least is %v", f.name, *f.v, f.min)
		}
	}
	if cfg.Life < cfg.Access {
		return nil, fmt.Errorf("auth: LoginConfig.Life is %v: the least is Access, %v", cfg.Life, cfg.Access)
	}
	return &Logins{a: a, cfg: cfg, cookie: a.cfg.Cookie + "-refresh"}, nil
}

// Login asks LoginConfig.Check and begins a login: 200, the cookies, and
// {"user":"alice","expires":1763782800000}, where expires is the Unix time in
// ms at which the access token ends: refresh it before.
func (l *Logins) Login(w http.ResponseWriter, r *http.Request) {
	if !l.post(w, r) {
		return
	}
	if l.cfg.Check == nil {
		l.a.cfg.Logger.Error("LoginConfig.Check is nil: nobody can log in")
		l.refuse(w, errInternal)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	who, err := l.cfg.Check(r)
	if err != nil {
		l.refuse(w, l.unchecked(err))
		return
	}
	if refusal := l.start(w, r, who); refusal != nil {
		l.refuse(w, refusal)
	}
}

// Start begins a login for who, whom the program has checked, and sets its
// cookies: for programs with a login handler of their own, which must be safe
// from cross-site requests, and which answer themselves. ExpiresAt and Login of
// who are not looked at.
func (l *Logins) Start(w http.ResponseWriter, r *http.Request, who gohub.Identity) error {
	_, refusal := l.begin(w, r, who)
	if refusal != nil {
		return refusal
	}
	return nil
}

func (l *Logins) start(w http.ResponseWriter, r *http.Request, who gohub.Identity) *gohub.Error {
	who, refusal := l.begin(w, r, who)
	if refusal == nil {
		answer(w, who)
	}
	return refusal
}

func (l *Logins) begin(w http.ResponseWriter, r *http.Request, who gohub.Identity) (gohub.Identity, *gohub.Error) {
	if !wire.ValidUser(who.User) {
		l.a.cfg.Logger.Error("a login's user id cannot be: 1-63 of A-Z a-z 0-9 . _ : -")
		return who, errInternal
	}
	who.Login, who.ExpiresAt = rand.Text(), time.Time{}
	now := time.Now()
	f, token := newFamily(who, now, l.cfg.Life)
	access, expires, refusal := l.access(f, now)
	if refusal != nil {
		return who, refusal
	}
	if err := l.cfg.Families.Add(r.Context(), f); err != nil {
		return who, l.away("a login could not be kept", err)
	}
	l.set(w, access, token, expires, f.Expires, now)
	who.ExpiresAt = expires
	return who, nil
}

// access makes an access token for a family's user, that ends with it.
func (l *Logins) access(f Family, now time.Time) (token string, expires time.Time, refusal *gohub.Error) {
	const most = 4096 - 256 // of a cookie, in browsers, less its name and attributes
	life := min(l.cfg.Access, f.Expires.Sub(now))
	token, err := l.a.Issue(f.Who, life)
	if err == nil && (len(token) > most || len(token) > l.a.cfg.MaxToken) {
		err = fmt.Errorf("the token has %d bytes: browsers keep cookies of 4096", len(token))
	}
	if err != nil {
		l.a.cfg.Logger.Error("no token could be made", "user", f.Who.User, "tenant", f.Who.Tenant, "err", err)
		return "", expires, errInternal
	}
	return token, now.Add(life), nil
}

// Refresh exchanges the refresh cookie for new ones of both, and answers as
// Login does. 401: there is nobody logged in any more. One that was exchanged
// before ends the login, unless that was just now; see LoginConfig.Grace. The code
// of that 401 is [CodeReused].
func (l *Logins) Refresh(w http.ResponseWriter, r *http.Request) {
	if !l.post(w, r) {
		return
	}
	who, refusal := l.refresh(w, r)
	if refusal != nil {
		if refusal.Code == gohub.CodeUnauthorized || refusal.Code == gohub.CodeForbidden {
			l.clear(w)
		}
		if refusal == ErrReused {
			problem.Write(w, http.StatusUnauthorized, CodeReused, refusal.Message, 0)
			return
		}
		l.refuse(w, refusal)
		return
	}
	answer(w, who)
}

// CodeReused is the code of the problem that Refresh answers with, where others
// have "unauthorized", to who comes with a refresh token that was exchanged
// before: one of two has a copy. Their page should say so, and not log them in
// anew by itself.
const CodeReused = "token_reused"

// ErrReused is what [Logins.Peek] gives for such a token.
var ErrReused = refused("this login has been used from two places, and has ended")

var (
	errInternal = &gohub.Error{Code: gohub.CodeInternal, Message: "something went wrong here"}
	errAway     = &gohub.Error{Code: gohub.CodeUnavailable, Message: "not possible right now", RetryAfter: time.Second}
	errLoggedIn = refused("not logged in any more")
)

func (l *Logins) refresh(w http.ResponseWriter, r *http.Request) (who gohub.Identity, refusal *gohub.Error) {
	token, refusal := oneCookie(r, l.cookie)
	if refusal != nil {
		return who, refusal
	}
	id, secret, ok := refreshToken(token)
	if !ok {
		return who, errLoggedIn
	}
	ctx, hash := r.Context(), sha256.Sum256(secret[:])
	for range 3 { // others may be about the same family
		f, err := l.cfg.Families.Get(ctx, id)
		now := time.Now()
		switch {
		case errors.Is(err, ErrNoFamily):
			return who, errLoggedIn
		case err != nil:
			return who, l.away("a login could not be looked up", err)
		case !now.Before(f.Expires):
			_ = l.cfg.Families.Remove(ctx, id) // it is worth nothing anyway
			return who, errLoggedIn
		case hash == f.Current:
		case hash == f.Previous && now.Sub(f.Rotated) < l.cfg.Grace:
			access, expires, refusal := l.access(f, now)
			if refusal != nil {
				return who, refusal
			}
			// As it is: only to know that it has not ended meanwhile.
			switch there, err := l.cfg.Families.Swap(ctx, f.Current, f); {
			case err != nil:
				return who, l.away("a login could not be kept", err)
			case !there:
				continue
			}
			l.set(w, access, f.token(f.next(secret)), expires, f.Expires, now)
			f.Who.ExpiresAt = expires
			return f.Who, nil
		default:
			l.a.cfg.Logger.Warn("a refresh token was used twice: the login has ended", "user", f.Who.User, "tenant", f.Who.Tenant, "login", f.Who.Login)
			return who, l.end(ctx, f, ErrReused)
		}
		current, over, refusal := l.recheck(ctx, f)
		switch {
		case over:
			return who, l.end(ctx, f, refusal)
		case refusal != nil:
			return who, refusal
		}
		f.Who = current
		access, expires, refusal := l.access(f, now)
		if refusal != nil {
			return who, refusal
		}
		next := f.next(secret)
		f.Previous, f.Current, f.Rotated = hash, sha256.Sum256(next[:]), now
		swapped, err := l.cfg.Families.Swap(ctx, hash, f)
		switch {
		case err != nil:
			return who, l.away("a login could not be kept", err)
		case swapped:
			l.set(w, access, f.token(next), expires, f.Expires, now)
			f.Who.ExpiresAt = expires
			return f.Who, nil
		}
	}
	return who, errAway
}

// recheck asks the program who the user is now. over: its refusal is to end the
// login.
func (l *Logins) recheck(ctx context.Context, f Family) (who gohub.Identity, over bool, refusal *gohub.Error) {
	if l.cfg.Recheck == nil {
		return f.Who, false, nil
	}
	who, err := l.cfg.Recheck(ctx, f.Who)
	if err != nil {
		e, ok := errors.AsType[*gohub.Error](err)
		if !ok || e == nil {
			return gohub.Identity{}, false, l.away("LoginConfig.Recheck failed", err)
		}
		return gohub.Identity{}, e.Code == gohub.CodeUnauthorized || e.Code == gohub.CodeForbidden, e
	}
	if who.User != f.Who.User || who.Tenant != f.Who.Tenant {
		l.a.cfg.Logger.Error("LoginConfig.Recheck made another user of a login's", "user", f.Who.User, "tenant", f.Who.Tenant)
		return gohub.Identity{}, false, errInternal
	}
	who.Login = f.Who.Login
	return who, false, nil
}

// endWait is for how long the storage may take to end a login.
const endWait = 10 * time.Second

// still is a context for ending a login, which a page that navigates away, or a
// thief who hangs up, does not call off.
func still(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), endWait)
}

// end ends a family, and gives why, or that it could not.
func (l *Logins) end(ctx context.Context, f Family, why *gohub.Error) *gohub.Error {
	ctx, cancel := still(ctx)
	defer cancel()
	if err := l.cfg.Families.Remove(ctx, f.ID); err != nil {
		return l.away("a login could not be ended", err)
	}
	if why == ErrReused && l.cfg.Reused != nil {
		l.cfg.Reused(context.WithoutCancel(ctx), f.Who)
	}
	l.ended(ctx, f.Who)
	return why
}

func (l *Logins) ended(ctx context.Context, who gohub.Identity) {
	if l.cfg.Ended != nil {
		l.cfg.Ended(context.WithoutCancel(ctx), who)
	}
}

// Peek tells whose login the refresh cookie of a request is of, and changes
// nothing: for a page that is rendered for a user whose access token has run
// out meanwhile, and which refreshes it by a POST of its script. It takes what
// Refresh would take, from requests of any method, and asks LoginConfig.Recheck
// as Refresh does, but ends no login. The identity is Recheck's, or as of the
// last refresh, and has no ExpiresAt.
//
// A refresh cookie that somebody has copied is found out by being exchanged
// twice, and Peek exchanges nothing: its holder could look for as long as the
// user stays away. So render no more than the frame of the page, and nothing
// that is private, until the script has refreshed.
//
// An error is an [*gohub.Error]: unauthorized where nobody is logged in, what
// Recheck refuses with, unavailable if that cannot be said now. ErrReused comes
// with whose login it is: Refresh would end it, and until somebody refreshes,
// whoever has the other copy uses it. So render the frame, and let its script
// refresh and say what has happened.
func (l *Logins) Peek(r *http.Request) (gohub.Identity, error) {
	token, refusal := oneCookie(r, l.cookie)
	if refusal != nil {
		return gohub.Identity{}, refusal
	}
	id, secret, ok := refreshToken(token)
	if !ok {
		return gohub.Identity{}, errLoggedIn
	}
	f, err := l.cfg.Families.Get(r.Context(), id)
	now, hash := time.Now(), sha256.Sum256(secret[:])
	switch {
	case errors.Is(err, ErrNoFamily):
		return gohub.Identity{}, errLoggedIn
	case err != nil:
		return gohub.Identity{}, l.away("a login could not be looked up", err)
	case !now.Before(f.Expires):
		return gohub.Identity{}, errLoggedIn
	}
	who, _, refusal := l.recheck(r.Context(), f) // whatever the token: a suspended user does not get the frame, either
	if refusal != nil {
		return gohub.Identity{}, refusal
	}
	if hash != f.Current && (hash != f.Previous || now.Sub(f.Rotated) >= l.cfg.Grace) {
		return gohub.Identity{Tenant: f.Who.Tenant, User: f.Who.User, Login: f.Who.Login}, ErrReused
	}
	who.ExpiresAt = time.Time{}
	return who, nil
}

// Logout ends the login that the cookies are of, and clears them: 204, also
// for who was not logged in.
func (l *Logins) Logout(w http.ResponseWriter, r *http.Request) {
	if !l.post(w, r) {
		return
	}
	if err := l.End(w, r); err != nil {
		refusal, ok := errors.AsType[*gohub.Error](err)
		if !ok {
			refusal = errInternal
		}
		l.refuse(w, refusal)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

// End is what Logout does, for programs with a logout handler of their own,
// which must be safe from cross-site requests, and which answer themselves. On an error
// nothing has ended and the cookies are still there, so that it can be tried
// again.
func (l *Logins) End(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := still(r.Context())
	defer cancel()
	found := false
	for _, c := range r.CookiesNamed(l.cookie) { // all, should there be two
		id, _, ok := refreshToken(c.Value)
		if !ok {
			continue
		}
		f, err := l.cfg.Families.Get(ctx, id)
		if errors.Is(err, ErrNoFamily) {
			continue
		}
		if err != nil {
			return l.away("a login could not be looked up", err)
		}
		if refusal := l.end(ctx, f, nil); refusal != nil {
			return refusal
		}
		found = true
	}
	if !found { // its sessions may be there still
		if who, err := l.a.Authenticate(r); err == nil {
			l.ended(ctx, who)
		}
	}
	l.clear(w)
	return nil
}

// EndUser ends all logins of a user, wherever they are, as after a change of
// the password. Access tokens that are out stay good for LoginConfig.Access at
// most. LoginConfig.Ended is told once, with the tenant and the user alone.
func (l *Logins) EndUser(ctx context.Context, tenant, user string) error {
	if err := l.cfg.Families.RemoveUser(ctx, tenant, user); err != nil {
		return fmt.Errorf("auth: ending the logins of %q: %w", user, err)
	}
	l.ended(ctx, gohub.Identity{Tenant: tenant, User: user})
	return nil
}

// post lets through what is a POST, and not another site's.
func (l *Logins) post(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		problem.Write(w, http.StatusMethodNotAllowed, string(gohub.CodeBadRequest), "POST is what this answers", 0)
		return false
	}
	if err := l.cross.Check(r); err != nil {
		if o, _, ok := origin.Parse(r.Header["Origin"]); !ok || !origin.Listed(o, l.cfg.Origins) {
			l.refuse(w, errCrossSite)
			return false
		}
	}
	return true
}

var errCrossSite = &gohub.Error{Code: gohub.CodeForbidden, Message: "pages of this origin may not do that"}

// unchecked is what a client hears of an error of Check's.
func (l *Logins) unchecked(err error) *gohub.Error {
	if e, ok := errors.AsType[*gohub.Error](err); ok && e != nil {
		return e
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &gohub.Error{Code: gohub.CodeTooLarge, Message: "the request is too large"}
	}
	l.a.cfg.Logger.Debug("LoginConfig.Check refused", "err", err)
	return refused("not authenticated")
}

// away is for what the program's storage could not do.
func (l *Logins) away(what string, err error) *gohub.Error {
	l.a.cfg.Logger.Error("auth: storage", "what", what, "err", err)
	return errAway
}

func (l *Logins) refuse(w http.ResponseWriter, e *gohub.Error) {
	problem.Write(w, problem.Status(string(e.Code)), string(e.Code), e.Message, e.RetryAfter)
}

// set sets both cookies.
func (l *Logins) set(w http.ResponseWriter, access, refresh string, expires, ends, now time.Time) {
	http.SetCookie(w, l.newCookie(l.a.cfg.Cookie, access, expires.Sub(now)))
	http.SetCookie(w, l.newCookie(l.cookie, refresh, ends.Sub(now)))
}

// clear takes both cookies back.
func (l *Logins) clear(w http.ResponseWriter) {
	http.SetCookie(w, l.newCookie(l.a.cfg.Cookie, "", -time.Second))
	http.SetCookie(w, l.newCookie(l.cookie, "", -time.Second))
}

func (l *Logins) newCookie(name, value string, life time.Duration) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // all three are set
		Name:     name,
		Value:    value,
		Path:     "/", // __Host- wants it, and no Domain
		MaxAge:   int(life.Round(time.Second) / time.Second),
		Secure:   !l.a.cfg.Insecure,
		HttpOnly: true,
		SameSite: l.cfg.SameSite,
	}
}

func answer(w http.ResponseWriter, who gohub.Identity) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(struct {
		User    string `json:"user"`
		Expires int64  `json:"expires"`
	}{who.User, who.ExpiresAt.UnixMilli()})
}
