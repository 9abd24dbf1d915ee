package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gohub/gohub"
	"github.com/gohub/gohub/bench/internal/tokens"
)

// badTokens connects with tokens that look right and are not, in turns: of
// another key of the same name, so that the signature has to be checked; of a
// key that nobody knows; good ones that have expired. Each costs the server what
// telling so costs, and an answer.
func badTokens(ctx context.Context, a *attackers) {
	var headers []string
	for _, kind := range []struct {
		kid, seed string
		life      time.Duration
	}{
		{tokens.KeyID, "another", time.Hour},
		{"unknown", "another", time.Hour},
		{tokens.KeyID, tokens.KeyID, -time.Hour},
	} {
		issuer, err := tokens.New(kind.kid, kind.seed)
		if err != nil {
			a.add(1, surprise+err.Error())
			return
		}
		for i := range 100 {
			token, err := issuer.Issue(gohub.Identity{User: fmt.Sprintf("mallory%d", i)}, kind.life)
			if err != nil {
				a.add(1, surprise+err.Error())
				return
			}
			headers = append(headers, upgradeHeaders+"Authorization: Bearer "+token+"\r\n")
		}
	}
	a.paced(ctx, a.scaled(5000), 256, func(i int) {
		s, _ := a.openWith(ctx, "", headers[(i%3)*100+i/3%100], nil)
		if s != nil {
			a.add(1, surprise+"a bad token was taken")
			_ = s.nc.Close()
		}
	})
}
