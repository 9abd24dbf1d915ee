package auth

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/internal/wire"
)

func (n ClaimNames) resolve() ClaimNames {
	for _, f := range []struct {
		name *string
		def  string
	}{
		{&n.User, "sub"},
		{&n.Name, "name"},
		{&n.Device, "device"},
		{&n.Tenant, "tenant"},
		{&n.Login, "sid"},
		{&n.Rooms, "rooms"},
	} {
		switch *f.name {
		case "":
			*f.name = f.def
		case "-":
			*f.name = ""
		}
	}
	n.Keep = slices.Clone(n.Keep)
	return n
}

// identity makes an identity of a good token's claims.
func (a *Authenticator) identity(ctx context.Context, claims map[string]any) (gohub.Identity, error) {
	n, who := a.cfg.Claims, gohub.Identity{}
	for _, f := range []struct {
		claim string
		to    *string
	}{
		{n.User, &who.User},
		{n.Name, &who.Name},
		{n.Device, &who.Device},
		{n.Tenant, &who.Tenant},
		{n.Login, &who.Login},
	} {
		v, has := claims[f.claim]
		if f.claim == "" || !has {
			continue
		}
		// Of another type it is refused, not passed over: without its tenant
		// a user would be one of another tenant.
		s, ok := v.(string)
		if !ok {
			a.warn(ctx, "a claim is no string", "claim", f.claim)
			return who, errClaims
		}
		*f.to = s
	}
	if v, has := claims[n.Rooms]; has && n.Rooms != "" {
		rooms, ok := stringsOf(v)
		if !ok {
			a.warn(ctx, "a claim is no list of strings", "claim", n.Rooms)
			return who, errClaims
		}
		who.Rooms = rooms
	}
	for _, name := range n.Keep {
		if v, has := claims[name]; has {
			if who.Claims == nil {
				who.Claims = make(map[string]any, len(n.Keep))
			}
			who.Claims[name] = v
		}
	}
	if a.cfg.Map != nil {
		if err := a.cfg.Map(claims, &who); err != nil {
			if e, ok := errors.AsType[*gohub.Error](err); ok && e != nil {
				return who, e
			}
			a.warn(ctx, "Config.Map has refused it", "err", err)
			return who, errClaims
		}
	}
	if !wire.ValidUser(who.User) {
		a.warn(ctx, "its user id cannot be: 1-63 of A-Z a-z 0-9 . _ : - are allowed, so Config.Map must make one", "claim", n.User)
		return who, errUser
	}
	return who, nil
}

// warn tells of a good token that cannot be used. Who has one can bring it as
// often as they like, so it is a warning once a second, and else for debugging.
func (a *Authenticator) warn(ctx context.Context, why string, args ...any) {
	args = append([]any{"why", why}, args...)
	a.cfg.Logger.Log(ctx, a.warned.At(slog.LevelWarn), "a good token cannot be used", args...)
}

func stringsOf(v any) ([]string, bool) {
	list, ok := v.([]any)
	if !ok {
		return nil, false
	}
	out := make([]string, len(list))
	for i, v := range list {
		if out[i], ok = v.(string); !ok {
			return nil, false
		}
	}
	return out, true
}

// claims is the other way round.
func (n ClaimNames) claims(who gohub.Identity) map[string]any {
	claims := make(map[string]any)
	for _, name := range n.Keep {
		if v, has := who.Claims[name]; has {
			claims[name] = v
		}
	}
	for name, v := range map[string]string{n.User: who.User, n.Name: who.Name, n.Device: who.Device, n.Tenant: who.Tenant, n.Login: who.Login} {
		if name != "" && v != "" {
			claims[name] = v
		}
	}
	if n.Rooms != "" && who.Rooms != nil {
		claims[n.Rooms] = who.Rooms
	}
	return claims
}
