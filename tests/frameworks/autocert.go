package frameworks

import (
	"net/http"
	"time"

	"golang.org/x/crypto/acme/autocert"
)

// Autocert makes the servers of a program that ends TLS itself, with
// certificates of Let's Encrypt: the one for the service, and the one for port
// 80, which answers the CA and sends everybody else to HTTPS.
func Autocert(mux http.Handler, cacheDir string) (https, plain *http.Server) {
	certs := &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		HostPolicy: autocert.HostWhitelist("chat.example.com"), // without it anybody has it ask for any name
		Cache:      autocert.DirCache(cacheDir),                // on a disk that stays: the CA gives a name few certificates a week
	}
	https = &http.Server{
		Addr: ":443", Handler: mux, TLSConfig: certs.TLSConfig(),
		ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	plain = &http.Server{
		Addr: ":80", Handler: certs.HTTPHandler(nil),
		ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	return https, plain // https.ListenAndServeTLS("", ""), plain.ListenAndServe()
}
