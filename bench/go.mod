module github.com/gohub/gohub/bench

go 1.26.0

require (
	github.com/gohub/gohub v0.0.0-00010101000000-000000000000
	golang.org/x/sys v0.49.0
)

require github.com/coder/websocket v1.8.15 // indirect

replace github.com/gohub/gohub => ../
