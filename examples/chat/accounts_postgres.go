package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gohub/gohub/auth"
)

// lasting accounts are in Postgres, so that a login is one on every node that
// uses the database, and after a restart. Whoever can read the database can
// make tokens: a real service keeps its key elsewhere.
func lasting(ctx context.Context, pool *pgxpool.Pool) (accounts, error) {
	for _, sql := range []string{
		`CREATE TABLE IF NOT EXISTS chat_key (one bool PRIMARY KEY DEFAULT true CHECK (one), pkcs8 bytea NOT NULL)`,
		`CREATE TABLE IF NOT EXISTS chat_login (
			id text PRIMARY KEY, tenant text NOT NULL, usr text NOT NULL,
			current bytea NOT NULL, expires timestamptz NOT NULL, family jsonb NOT NULL)`,
		`CREATE INDEX IF NOT EXISTS chat_login_user ON chat_login (tenant, usr)`,
		`CREATE INDEX IF NOT EXISTS chat_login_expires ON chat_login (expires)`,
	} {
		if err := once(ctx, pool, sql); err != nil {
			return accounts{}, fmt.Errorf("tables of the logins: %w", err)
		}
	}
	fresh, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return accounts{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(fresh)
	if err != nil {
		return accounts{}, err
	}
	if _, err = pool.Exec(ctx, `INSERT INTO chat_key (pkcs8) VALUES ($1) ON CONFLICT DO NOTHING`, der); err == nil {
		err = pool.QueryRow(ctx, `SELECT pkcs8 FROM chat_key`).Scan(&der) // the first node's
	}
	if err != nil {
		return accounts{}, fmt.Errorf("key of the logins: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return accounts{}, fmt.Errorf("key of the logins: %w", err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return accounts{}, fmt.Errorf("key of the logins: it is a %T", key)
	}
	return accounts{ec, families{pool}}, nil
}

// once runs a statement that makes something if it is not there. Two nodes that
// start together may both find that it is not: hence the lock.
func once(ctx context.Context, pool *pgxpool.Pool, sql string) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(7461637468)`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, sql)
		return err
	})
}

// families keeps logins in the table chat_login. Whoever logs in takes out some
// of those that have expired, whosever they are.
type families struct{ pool *pgxpool.Pool }

func (f families) Add(ctx context.Context, fam auth.Family) error {
	b, err := json.Marshal(fam)
	if err != nil {
		return err
	}
	if _, err := f.pool.Exec(ctx, `DELETE FROM chat_login WHERE id IN (SELECT id FROM chat_login WHERE expires < now() LIMIT 100 FOR UPDATE SKIP LOCKED)`); err != nil {
		return err
	}
	_, err = f.pool.Exec(ctx, `INSERT INTO chat_login (id, tenant, usr, current, expires, family) VALUES ($1, $2, $3, $4, $5, $6)`,
		fam.ID, fam.Who.Tenant, fam.Who.User, fam.Current[:], fam.Expires, b)
	return err
}

func (f families) Get(ctx context.Context, id string) (fam auth.Family, err error) {
	var b []byte
	err = f.pool.QueryRow(ctx, `SELECT family FROM chat_login WHERE id = $1`, id).Scan(&b)
	if errors.Is(err, pgx.ErrNoRows) {
		return fam, auth.ErrNoFamily
	}
	if err == nil {
		err = json.Unmarshal(b, &fam)
	}
	return fam, err
}

func (f families) Swap(ctx context.Context, was [32]byte, fam auth.Family) (bool, error) {
	b, err := json.Marshal(fam)
	if err != nil {
		return false, err
	}
	tag, err := f.pool.Exec(ctx, `UPDATE chat_login SET current = $3, expires = $4, family = $5 WHERE id = $1 AND current = $2`,
		fam.ID, was[:], fam.Current[:], fam.Expires, b)
	return tag.RowsAffected() == 1, err
}

func (f families) Remove(ctx context.Context, id string) error {
	_, err := f.pool.Exec(ctx, `DELETE FROM chat_login WHERE id = $1`, id)
	return err
}

func (f families) RemoveUser(ctx context.Context, tenant, user string) error {
	_, err := f.pool.Exec(ctx, `DELETE FROM chat_login WHERE tenant = $1 AND usr = $2`, tenant, user)
	return err
}
