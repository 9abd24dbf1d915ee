package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	neturl "net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gohub/gohub/examples/chat/localtls"
)

// atHome gives a test a home of its own, without mkcert.
func atHome(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	t.Setenv("XDG_DATA_HOME", "")
	t.Setenv("CAROOT", "")
	return home
}

func TestServesTLS(t *testing.T) {
	atHome(t)
	url, stop := serve(t, "-tls", "-drain", "0")
	require.Regexp(t, "^https://localhost:", url)
	ca, err := localtls.Find()
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(ca.Cert)

	untrusting := &http.Client{Transport: &http.Transport{}}
	_, err = untrusting.Get(url) //nolint:bodyclose // there is none
	var unknown x509.UnknownAuthorityError
	require.ErrorAs(t, err, &unknown, "trust is not changed by serving")

	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	t.Cleanup(client.CloseIdleConnections)
	login(t, client, url, "alice").expect("welcome")
	at, err := neturl.Parse(url)
	require.NoError(t, err)
	var names []string
	for _, c := range jar.Cookies(at) {
		names = append(names, c.Name)
	}
	assert.ElementsMatch(t, []string{"__Host-gohub", "__Host-gohub-refresh"}, names)
	res, err := client.Get(url)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Empty(t, res.Header.Get("Strict-Transport-Security"))
	assert.Equal(t, 0, stop())
}

func TestServesAGivenCertificate(t *testing.T) {
	home := atHome(t)
	ca, err := localtls.Find()
	require.NoError(t, err)
	made, err := ca.TLS().GetCertificate(nil)
	require.NoError(t, err)
	key, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	require.NoError(t, err)
	cert, keyFile := filepath.Join(home, "cert.pem"), filepath.Join(home, "key.pem")
	for file, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: made.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key}} {
		require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(b), 0o600))
	}
	url, stop := serve(t, "-cert", cert, "-key", keyFile, "-drain", "0")
	require.Regexp(t, `^https://127\.0\.0\.1:`, url)
	roots := x509.NewCertPool()
	roots.AddCert(ca.Cert)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	res, err := client.Get(url)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.True(t, made.Leaf.Equal(res.TLS.PeerCertificates[0]))
	client.CloseIdleConnections()
	assert.Equal(t, 0, stop())

	var stderr bytes.Buffer
	assert.Equal(t, 1, run(t.Context(), []string{"-cert", keyFile, "-key", cert}, noEnv, &bytes.Buffer{}, &stderr))
	assert.Contains(t, stderr.String(), "-cert and -key")
	assert.NotContains(t, stderr.String(), "PRIVATE KEY-")
}

// Serving says how to trust, and `chat trust -n` what that would do; neither
// does it.
func TestTrustIsNeverSilent(t *testing.T) {
	home := atHome(t)
	t.Setenv("PATH", t.TempDir()) // whatever there is to change trust with cannot be found
	_, advice, err := tlsConfig(config{tls: true})
	require.NoError(t, err)
	assert.Contains(t, advice, "chat trust")
	var stdout, stderr bytes.Buffer
	assert.Equal(t, 1, run(t.Context(), []string{"trust"}, noEnv, &stdout, &stderr), "nothing could be done")
	for _, says := range []string{"local-ca/ca.pem", "SHA-256", "localhost, 127.0.0.1 and ::1 only", "update-ca-certificates", "libnss3-tools"} {
		assert.Contains(t, stdout.String(), says)
	}
	assert.NotContains(t, stdout.String(), "Done")

	for _, args := range [][]string{{"trust", "me"}, {"trust", "-in", "everywhere"}, {"trust", "-x"}} {
		stderr.Reset()
		assert.Equal(t, 2, run(t.Context(), args, noEnv, &stdout, &stderr))
		assert.NotEmpty(t, stderr.String())
	}
	var files []string
	require.NoError(t, filepath.WalkDir(home, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, d.Name())
		}
		return err
	}))
	assert.ElementsMatch(t, []string{"ca.pem", "ca-key.pem"}, files)
}

func TestTrustDryRun(t *testing.T) {
	home := atHome(t)
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	// If this is run, the test's home says so.
	script := "#!/bin/sh\ntouch \"$HOME/called\"\n"
	for _, name := range []string{"certutil", "update-ca-certificates"} {
		require.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte(script), 0o700))
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+"/usr/bin"+string(os.PathListSeparator)+"/bin")
	var stdout bytes.Buffer
	run(t.Context(), []string{"trust", "-n"}, noEnv, &stdout, &stdout)
	assert.Contains(t, stdout.String(), "certutil -d sql:"+home)
	assert.Contains(t, stdout.String(), "Nothing was changed.")
	assert.NoFileExists(t, filepath.Join(home, "called"))
	assert.NoDirExists(t, filepath.Join(home, ".pki"))
	assert.Equal(t, 0, run(t.Context(), []string{"trust", "-in", "browsers"}, noEnv, &stdout, &stdout), "%s", &stdout)
	assert.FileExists(t, filepath.Join(home, "called"))
}

// A key that others can read is a reason to trust its CA no more, and none not to.
func TestTrustIsTakenBackWithoutTheKey(t *testing.T) {
	home := atHome(t)
	var stdout, stderr bytes.Buffer
	assert.Equal(t, 1, run(t.Context(), []string{"trust", "-remove", "-n"}, noEnv, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "nothing to remove")
	assert.NoDirExists(t, filepath.Join(home, "config"), "no CA is made to be removed")

	ca, err := localtls.Find()
	require.NoError(t, err)
	require.NoError(t, os.Chmod(filepath.Join(filepath.Dir(ca.File), "ca-key.pem"), 0o644))
	stderr.Reset()
	assert.Equal(t, 1, run(t.Context(), []string{"trust"}, noEnv, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "First `chat trust -remove`")

	bin := t.TempDir()
	t.Setenv("PATH", bin)
	script := "#!/bin/sh\necho \"$@\" >\"$HOME/called\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "certutil"), []byte(script), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(home, ".pki", "nssdb"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(home, ".pki", "nssdb", "cert9.db"), nil, 0o600))
	assert.Equal(t, 0, run(t.Context(), []string{"trust", "-remove", "-in", "browsers"}, noEnv, &stdout, &stderr), "%s", &stderr)
	called, err := os.ReadFile(filepath.Join(home, "called"))
	require.NoError(t, err)
	assert.Contains(t, string(called), "-D -n "+ca.Cert.Subject.CommonName)
}
