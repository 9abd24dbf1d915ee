package frameworks

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAutocert(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	https, plain := Autocert(http.NotFoundHandler(), dir)
	require.Contains(t, https.TLSConfig.NextProtos, "http/1.1", "WebSockets need it")
	require.Contains(t, https.TLSConfig.NextProtos, "acme-tls/1")
	_, err := https.TLSConfig.GetCertificate(&tls.ClientHelloInfo{ServerName: "other.example.com"})
	require.ErrorContains(t, err, "not configured")
	kept, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, kept)

	w := httptest.NewRecorder()
	plain.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://chat.example.com/ws", nil))
	require.Equal(t, http.StatusFound, w.Code)
	require.Equal(t, "https://chat.example.com/ws", w.Header().Get("Location"))
}
