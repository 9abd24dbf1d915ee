package localtls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// alone gives a test a home of its own.
func alone(t *testing.T) (home string) {
	t.Helper()
	home = t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	t.Setenv("XDG_DATA_HOME", "")
	t.Setenv("CAROOT", "")
	return home
}

func TestOwnCAIsMadeOnceAndIsPrivate(t *testing.T) {
	home := alone(t)
	var wg sync.WaitGroup
	found := make([]*CA, 8)
	for i := range found { // as when several servers start at once
		wg.Go(func() {
			ca, err := Find()
			if err == nil {
				found[i] = ca
			}
		})
	}
	wg.Wait()
	for _, ca := range found {
		require.NotNil(t, ca)
		require.True(t, ca.Cert.Equal(found[0].Cert))
		require.False(t, ca.Mkcert)
	}
	dir := filepath.Join(home, "config", "gohub-chat", "local-ca")
	require.Equal(t, filepath.Join(dir, "ca.pem"), found[0].File)
	for path, mode := range map[string]fs.FileMode{filepath.Dir(dir): 0o700, dir: 0o700, filepath.Join(dir, "ca-key.pem"): 0o600, filepath.Join(dir, "ca.pem"): 0o600} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), path)
	}
	left, err := os.ReadDir(filepath.Dir(dir))
	require.NoError(t, err)
	require.Len(t, left, 1, "nothing temporary stays")

	require.NoError(t, os.Chmod(filepath.Join(dir, "ca-key.pem"), 0o640))
	_, err = Find()
	require.ErrorContains(t, err, "others can read the key")
	require.ErrorContains(t, err, "First `chat trust -remove`", "afterwards nothing is left to name it by")
}

func TestOwnCAIsReplacedBeforeItEnds(t *testing.T) {
	alone(t)
	first, err := own(time.Now())
	require.NoError(t, err)
	same, err := own(first.Cert.NotAfter.Add(-caSpare - time.Minute))
	require.NoError(t, err)
	require.True(t, same.Cert.Equal(first.Cert))
	next, err := own(first.Cert.NotAfter.Add(-caSpare + time.Minute))
	require.NoError(t, err)
	require.False(t, next.Cert.Equal(first.Cert))
}

// To take a CA out of stores its certificate is enough, and no other one is made.
func TestMadeNeedsNoKey(t *testing.T) {
	home := alone(t)
	_, err := Made()
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoDirExists(t, filepath.Join(home, "config"))

	for _, left := range []time.Duration{time.Hour, -time.Hour} { // until it ends
		require.NoError(t, os.RemoveAll(filepath.Join(home, "config")))
		first, err := own(time.Now().Add(left - caLife))
		require.NoError(t, err)
		key := filepath.Join(filepath.Dir(first.File), "ca-key.pem")
		for _, spoil := range []func() error{
			func() error { return nil },
			func() error { return os.Chmod(key, 0o644) },
			func() error { return os.WriteFile(key, []byte("broken"), 0o600) },
			func() error { return os.Remove(key) },
		} {
			require.NoError(t, spoil())
			ca, err := Made()
			require.NoError(t, err)
			require.Equal(t, first.File, ca.File)
			require.True(t, ca.Cert.Equal(first.Cert))
		}
	}
}

// The CA vouches for this machine. Whatever else its key signs is worth
// nothing, as long as those who check look at what is critical.
func TestOwnCAVouchesForThisMachineOnly(t *testing.T) {
	alone(t)
	ca, err := Find()
	require.NoError(t, err)
	require.True(t, ca.Cert.PermittedDNSDomainsCritical)
	require.True(t, ca.Cert.MaxPathLenZero)
	require.WithinDuration(t, time.Now().Add(caLife), ca.Cert.NotAfter, time.Minute)
	roots := x509.NewCertPool()
	roots.AddCert(ca.Cert)
	for _, tt := range []struct {
		name     string
		template x509.Certificate
		host     string
		usage    x509.ExtKeyUsage
		refused  string // part of why
	}{
		{name: "localhost", template: x509.Certificate{DNSNames: []string{"localhost"}}, host: "localhost"},
		{name: "127.0.0.1", template: x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, host: "127.0.0.1"},
		{name: "::1", template: x509.Certificate{IPAddresses: []net.IP{net.IPv6loopback}}, host: "::1"},
		{name: "a name below localhost", template: x509.Certificate{DNSNames: []string{"app.localhost"}}, host: "app.localhost"},
		{name: "a site", template: x509.Certificate{DNSNames: []string{"bank.example"}}, host: "bank.example", refused: "not permitted"},
		{name: "a site besides localhost", template: x509.Certificate{DNSNames: []string{"localhost", "bank.example"}}, host: "localhost", refused: "not permitted"},
		{name: "a name that ends alike", template: x509.Certificate{DNSNames: []string{"evil-localhost"}}, host: "evil-localhost", refused: "not permitted"},
		{name: "another address", template: x509.Certificate{IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}}, host: "192.0.2.1", refused: "not permitted"},
		{name: "another loopback address", template: x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 2)}}, host: "127.0.0.2", refused: "not permitted"},
		{name: "code", template: x509.Certificate{DNSNames: []string{"localhost"}}, host: "localhost", usage: x509.ExtKeyUsageCodeSigning, refused: "incompatible key usage"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.template.NotBefore, tt.template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Minute)
			cert, err := ca.sign(&tt.template)
			require.NoError(t, err)
			_, err = cert.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: tt.host, KeyUsages: []x509.ExtKeyUsage{tt.usage}})
			if tt.usage == 0 {
				_, err = cert.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: tt.host})
			}
			if tt.refused == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.refused)
		})
	}
}

// The certificate of a server is new at each start, short-lived, and replaced
// while it still is good.
func TestLeafIsShortLived(t *testing.T) {
	home := alone(t)
	ca, err := Find()
	require.NoError(t, err)
	l := &leaf{ca: ca}
	now := time.Now()
	first, err := l.get(now)
	require.NoError(t, err)
	require.LessOrEqual(t, first.Leaf.NotAfter.Sub(first.Leaf.NotBefore), leafLife+leafSlow)
	same, err := l.get(now.Add(leafLife/2 - time.Minute))
	require.NoError(t, err)
	require.Same(t, first, same)
	next, err := l.get(now.Add(leafLife / 2))
	require.NoError(t, err)
	require.NotSame(t, first, next)
	another, err := ca.TLS().GetCertificate(&tls.ClientHelloInfo{})
	require.NoError(t, err)
	require.NotEqual(t, first.Leaf.SerialNumber, another.Leaf.SerialNumber)
	require.NotEqual(t, first.PrivateKey, another.PrivateKey)

	var files []string
	require.NoError(t, filepath.WalkDir(home, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, d.Name())
		}
		return err
	}))
	require.ElementsMatch(t, []string{"ca.pem", "ca-key.pem"}, files, "it is on no disk")
}

// writeMkcert makes what `mkcert -install` leaves: a CA with an RSA key.
func writeMkcert(t *testing.T, dir string, change func(*x509.Certificate)) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"mkcert development CA"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	if change != nil {
		change(template)
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	for name, b := range map[string]*pem.Block{"rootCA.pem": {Type: "CERTIFICATE", Bytes: cert}, "rootCA-key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(b), 0o600))
	}
}

func TestMkcertGoesFirst(t *testing.T) {
	for _, where := range []string{"CAROOT", "XDG_DATA_HOME", "home"} {
		t.Run(where, func(t *testing.T) {
			home := alone(t)
			dir := filepath.Join(home, "x", "mkcert")
			switch where {
			case "CAROOT":
				t.Setenv("CAROOT", dir)
			case "XDG_DATA_HOME":
				t.Setenv("XDG_DATA_HOME", filepath.Dir(dir))
			default:
				if runtime.GOOS != "linux" {
					t.Skip("other systems have other places")
				}
				dir = filepath.Join(home, ".local", "share", "mkcert")
			}
			writeMkcert(t, dir, nil)
			ca, err := Find()
			require.NoError(t, err)
			require.True(t, ca.Mkcert)
			require.Equal(t, filepath.Join(dir, "rootCA.pem"), ca.File)
			leaf, err := ca.issue(time.Now())
			require.NoError(t, err)
			roots := x509.NewCertPool()
			roots.AddCert(ca.Cert)
			_, err = leaf.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "localhost"})
			require.NoError(t, err)
			require.NoDirExists(t, filepath.Join(home, "config"), "no CA of our own is made")
		})
	}
}

func TestMkcertThatCannotBeUsed(t *testing.T) {
	home := alone(t)
	dir := filepath.Join(home, "mkcert")
	t.Setenv("CAROOT", dir)
	_, err := Find()
	require.ErrorContains(t, err, "CAROOT: ", "who names a CA means it")

	writeMkcert(t, dir, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	_, err = Find()
	require.ErrorContains(t, err, "not valid now")

	writeMkcert(t, dir, func(c *x509.Certificate) { c.IsCA, c.MaxPathLenZero = false, false })
	_, err = Find()
	require.ErrorContains(t, err, "is no CA")

	writeMkcert(t, dir, nil)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(other)
	require.NoError(t, err)
	key := filepath.Join(dir, "rootCA-key.pem")
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	_, err = Find()
	require.ErrorContains(t, err, "is not the key of")

	// A root without its key, as on machines that only trust it.
	t.Setenv("CAROOT", "")
	t.Setenv("XDG_DATA_HOME", home)
	require.NoError(t, os.Remove(key))
	ca, err := Find()
	require.NoError(t, err)
	require.False(t, ca.Mkcert)
}

// A plan changes nothing; what it says is what its steps do.
func TestPlanForBrowsers(t *testing.T) {
	home := alone(t)
	if _, err := exec.LookPath("certutil"); err != nil {
		if os.Getenv("GOHUB_REQUIRE_SERVICES") != "" {
			t.Fatal("certutil, of libnss3-tools, is not here")
		}
		t.Skip("no certutil")
	}
	ca, err := Find()
	require.NoError(t, err)
	db := filepath.Join(home, ".pki", "nssdb")
	trusted := func() bool {
		out, err := exec.CommandContext(t.Context(), "certutil", "-d", "sql:"+db, "-L").CombinedOutput()
		return err == nil && strings.Contains(string(out), ca.Cert.Subject.CommonName) && strings.Contains(string(out), "C,,")
	}
	add := ca.Plan(Browsers, false)
	require.Len(t, add, 2)
	require.NoDirExists(t, db)
	for i, says := range []string{"mkdir -p " + db, "-A -t C,, -n '" + ca.Cert.Subject.CommonName + "' -i " + ca.File} {
		require.Contains(t, add[i].What, says)
		require.NoError(t, add[i].Run(t.Context()))
	}
	require.True(t, trusted())
	again := ca.Plan(Browsers, false)
	require.Len(t, again, 1, "there is a database now")
	require.NoError(t, again[0].Run(t.Context()), "twice is fine")

	remove := ca.Plan(Browsers, true)
	require.Len(t, remove, 1)
	require.True(t, trusted())
	require.NoError(t, remove[0].Run(t.Context()))
	require.False(t, trusted())
}

func TestPlanForTheSystem(t *testing.T) {
	alone(t)
	ca, err := Find()
	require.NoError(t, err)
	bin, dir := t.TempDir(), t.TempDir()
	t.Setenv("PATH", bin)
	steps := ca.system(dir, false)
	require.Len(t, steps, 1)
	require.Nil(t, steps[0].Run)
	require.Contains(t, steps[0].What, ca.File)

	// One that only notes how it was called: the real one would change what
	// this machine trusts.
	script := "#!/bin/sh\necho \"$0 $*\" >>" + quote(filepath.Join(bin, "called")) + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "update-ca-certificates"), []byte(script), 0o700))
	file := filepath.Join(dir, ca.fileName())
	steps = ca.system(dir, false)
	require.Len(t, steps, 1)
	require.Contains(t, steps[0].What, file)
	require.NoFileExists(t, file)
	if os.Geteuid() != 0 {
		require.Nil(t, steps[0].Run, "it is left to root")
		require.Contains(t, steps[0].What, "sudo")
		return
	}
	require.NoError(t, steps[0].Run(t.Context()))
	want, err := os.ReadFile(ca.File)
	require.NoError(t, err)
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.NotContains(t, string(got), "KEY")
	require.NoError(t, ca.system(dir, true)[0].Run(t.Context()))
	require.NoFileExists(t, file)
	called, err := os.ReadFile(filepath.Join(bin, "called"))
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(called), "\n"))
	require.Contains(t, string(called), "--fresh")
	require.NoError(t, ca.system(dir, true)[0].Run(t.Context()), "twice is fine")
}
