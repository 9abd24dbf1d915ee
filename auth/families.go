package auth

import (
	"container/list"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/gohub/gohub"
)

// A Family is one login and the refresh tokens that follow from each other in
// it. Only the newest is good, once: it is exchanged for the next. Whoever
// brings one of the older ones has a copy, or the other has; since nothing tells
// which, the family ends for both.
//
// What is kept of it cannot be used in place of a token: tokens are kept as
// hashes, and Salt makes the next token only of the one before.
type Family struct {
	// ID finds the family; it is a part of its tokens, so keep it out of logs.
	ID string
	// Who has logged in. Its Login is the family's name that may be known.
	Who gohub.Identity
	// Salt makes each token of the one before.
	Salt [32]byte
	// Current and Previous are the hashes of the newest token and of the one
	// before it, which is answered with the newest one for a while: of two tabs
	// that refresh at a time, both shall get the same.
	Current, Previous [32]byte
	// Rotated is when Current came to be.
	Rotated time.Time
	// Expires is when the family ends, however often it has been refreshed.
	Expires time.Time
}

// ErrNoFamily is what [Families.Get] returns for an ID that it does not have.
var ErrNoFamily = errors.New("auth: no such login")

// Families keeps logins. Implementations must be safe for concurrent use and
// may forget a Family once it has expired. Where users come back to another
// process or after a restart, and are to be logged in still, use one that they
// all share; [NewMemoryFamilies] is for one process. An error means that it
// cannot be done now: clients are asked to try again.
type Families interface {
	// Add keeps a new Family, whose ID is unique.
	Add(ctx context.Context, f Family) error
	// Get gives a Family, or ErrNoFamily.
	Get(ctx context.Context, id string) (Family, error)
	// Swap replaces the Family with f's ID by f, if its Current is was, in one
	// step; otherwise, also if there is none, it changes nothing: false.
	Swap(ctx context.Context, was [32]byte, f Family) (bool, error)
	// Remove ends a Family; one that is not there is no error.
	Remove(ctx context.Context, id string) error
	// RemoveUser ends all of a user's.
	RemoveUser(ctx context.Context, tenant, user string) error
}

// newFamily begins a login, and gives its first token.
func newFamily(who gohub.Identity, now time.Time, life time.Duration) (Family, string) {
	f := Family{ID: rand.Text(), Who: who, Rotated: now, Expires: now.Add(life)}
	var first [32]byte
	_, _ = rand.Read(first[:]) // never fails
	_, _ = rand.Read(f.Salt[:])
	f.Current = sha256.Sum256(first[:])
	return f, f.token(first)
}

// token writes a refresh token: the family and a secret.
func (f Family) token(secret [32]byte) string {
	return f.ID + "." + base64.RawURLEncoding.EncodeToString(secret[:])
}

// next is the token after one with this secret.
func (f Family) next(secret [32]byte) (next [32]byte) {
	mac := hmac.New(sha256.New, f.Salt[:])
	mac.Write(secret[:])
	return [32]byte(mac.Sum(nil))
}

// refreshToken takes a refresh token apart.
func refreshToken(s string) (id string, secret [32]byte, ok bool) {
	const most = 128 // bytes; ours have 70
	id, text, ok := strings.Cut(s, ".")
	if !ok || id == "" || len(s) > most {
		return "", secret, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != len(secret) {
		return "", secret, false
	}
	return id, [32]byte(raw), true
}

const (
	mostFamilies = 100_000 // some 60 MB with short claims
	userFamilies = 100
)

// memoryFamilies keeps logins in the order in which they began, which is that
// in which they end.
type memoryFamilies struct {
	mu   sync.Mutex // guards what follows
	all  list.List  // of *memoryFamily, the oldest first
	byID map[string]*memoryFamily
	of   map[userOf]map[string]*memoryFamily
	next uint64
}

type userOf struct{ tenant, user string }

type memoryFamily struct {
	Family
	at  *list.Element
	nth uint64
}

// NewMemoryFamilies keeps logins in this process, which forgets them when it
// ends: everybody must log in again. It keeps 100,000, and 100 of a user; one
// more ends the oldest.
func NewMemoryFamilies() Families {
	return &memoryFamilies{byID: make(map[string]*memoryFamily), of: make(map[userOf]map[string]*memoryFamily)}
}

func ownerOf(f *Family) userOf { return userOf{f.Who.Tenant, f.Who.User} }

func (m *memoryFamilies) Add(_ context.Context, f Family) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for e := m.all.Front(); e != nil; e = m.all.Front() {
		oldest := e.Value.(*memoryFamily)
		if len(m.byID) < mostFamilies && now.Before(oldest.Expires) {
			break
		}
		m.drop(oldest)
	}
	owner := ownerOf(&f)
	mine := m.of[owner]
	if len(mine) >= userFamilies {
		var oldest *memoryFamily
		for _, o := range mine {
			if oldest == nil || o.nth < oldest.nth {
				oldest = o
			}
		}
		m.drop(oldest)
	}
	if mine == nil {
		mine = make(map[string]*memoryFamily)
		m.of[owner] = mine
	}
	kept := &memoryFamily{Family: f, nth: m.next}
	m.next++
	kept.at = m.all.PushBack(kept)
	m.byID[f.ID], mine[f.ID] = kept, kept
	return nil
}

// drop forgets a family; mu is held.
func (m *memoryFamilies) drop(f *memoryFamily) {
	m.all.Remove(f.at)
	delete(m.byID, f.ID)
	owner := ownerOf(&f.Family)
	if delete(m.of[owner], f.ID); len(m.of[owner]) == 0 {
		delete(m.of, owner)
	}
}

func (m *memoryFamilies) Get(_ context.Context, id string) (Family, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.byID[id]
	if f == nil {
		return Family{}, ErrNoFamily
	}
	return f.Family, nil
}

func (m *memoryFamilies) Swap(_ context.Context, was [32]byte, f Family) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := m.byID[f.ID]
	if kept == nil || kept.Current != was {
		return false, nil
	}
	kept.Family = f
	return true, nil
}

func (m *memoryFamilies) Remove(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.byID[id]; f != nil {
		m.drop(f)
	}
	return nil
}

func (m *memoryFamilies) RemoveUser(_ context.Context, tenant, user string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.of[userOf{tenant, user}] {
		m.drop(f)
	}
	return nil
}
