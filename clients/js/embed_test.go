package js_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/clients/js"
)

func TestHandler(t *testing.T) {
	get := func(tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/anywhere.js", nil)
		if tag != "" {
			r.Header.Set("If-None-Match", tag)
		}
		w := httptest.NewRecorder()
		js.Handler().ServeHTTP(w, r)
		return w
	}

	first := get("")
	require.Equal(t, http.StatusOK, first.Code)
	require.Equal(t, "text/javascript; charset=utf-8", first.Header().Get("Content-Type"))
	require.Equal(t, js.Source, first.Body.String())
	require.Contains(t, js.Source, "createClient")

	again := get(first.Header().Get("ETag"))
	require.Equal(t, http.StatusNotModified, again.Code)
	require.Empty(t, again.Body.String())
	require.Equal(t, http.StatusOK, get(`"old"`).Code)
}
