package gohub

import "context"

// AskAbout asks d about claims held on a hub, as the beat does.
func AskAbout(ctx context.Context, d Directory, held []Claim) error {
	return newDevices(&Hub{dir: d}).ask(ctx, held)
}
