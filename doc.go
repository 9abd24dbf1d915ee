// Package gohub is a hub for WebSocket sessions that a Go HTTP service embeds:
// rooms, private and direct messages, presence, typing, receipts and history,
// over one handler.
//
//	hub, err := gohub.New(gohub.Config{Authenticator: auth})
//	mux.Handle("/ws", hub.Handler())
//
// # What it promises
//
// A message is shown to a room's members as soon as it is ordered, and acked to
// its sender only after the [Store] has committed it. Clients make the ids, so
// a publish may be repeated until it is answered, over any number of broken
// connections: one message results. A session that comes back joins with the
// last seq it saw and gets what it missed, with no gap and nothing twice.
// Nothing is dropped silently: a client that cannot keep up is closed, and
// resumes.
//
// # Parts
//
// A [Hub] is a process's sessions and rooms. A [Store] keeps messages; a
// [Broker] puts them in order and carries them between hubs; an
// [Authenticator] says who connects; a [RateLimiter] bounds what they send.
// All but the Authenticator have a default that lives in memory, with bounds,
// so that the zero [Config] plus an Authenticator works.
//
// The embedding program publishes with [Hub.Publish], puts middleware around
// its clients' messages with [Hub.Use], makes slash commands of them with
// [Hub.Commands], answers calls with [Handle], and ends everything with
// [Hub.Shutdown].
//
// A session obeys what the Authenticator has said of it: it ends at its
// ExpiresAt unless it refreshes, enters the rooms that [Config].MayJoin lets
// it, and ends at once with [Hub.Revoke].
//
// The wire protocol is documented in docs/protocol.md.
package gohub
