// Package js has the JavaScript client, for programs that serve it themselves:
//
//	mux.Handle("GET /gohub.js", js.Handler())
//
// A page then needs no build and no package registry:
//
//	<script type="module">
//	  import { createClient } from '/gohub.js'
//	</script>
//
// The client and the hub of one version of this module belong together.
package js

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// Source is the client: one module in JavaScript, minified, that imports
// nothing.
//
//go:embed dist/gohub.js
var Source string

// Handler serves [Source] under whatever path it is mounted at. Browsers ask
// each time whether what they have is still good (ETag), so that a new version
// of the program is a new client. It is safe for concurrent use.
func Handler() http.Handler {
	sum := sha256.Sum256([]byte(Source))
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/javascript; charset=utf-8")
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("ETag", tag)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(Source))
	})
}
