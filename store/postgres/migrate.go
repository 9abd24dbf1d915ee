package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Each migration is a file whose name begins with its version, 0001 and on.
// What is released is never changed.
//
//go:embed migrations/*.sql
var migrations embed.FS

// Migrate makes the tables or brings them up to date: all missing migrations
// in one transaction, or none. Processes that start together wait for each
// other. Of o it needs Schema and, when the tables are made, Partitions. It
// fails when the tables are of a newer version than this package knows.
func Migrate(ctx context.Context, pool *pgxpool.Pool, o Options) error {
	o, err := o.resolve()
	if err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return migrate(ctx, tx, o) })
	if err != nil {
		return fmt.Errorf("postgres: migrate schema %s: %w", o.Schema, err)
	}
	return nil
}

func migrate(ctx context.Context, tx pgx.Tx, o Options) error {
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))`, "gohub migrations of "+o.Schema); err != nil {
		return fmt.Errorf("wait for others who migrate: %w", err)
	}
	schema := pgx.Identifier{o.Schema}.Sanitize()
	// "create … if not exists" needs the right to create also where it does not.
	var there bool
	if err := tx.QueryRow(ctx, `select exists (select from pg_catalog.pg_namespace where nspname = $1)`, o.Schema).Scan(&there); err != nil {
		return err
	}
	if !there {
		if _, err := tx.Exec(ctx, "create schema "+schema); err != nil {
			return err
		}
	}
	if err := tx.QueryRow(ctx, `select pg_catalog.to_regclass($1) is not null`, schema+".migrations").Scan(&there); err != nil {
		return err
	}
	version := 0
	if there {
		if version, err = tableVersion(ctx, tx, schema); err != nil {
			return err
		}
	} else if _, err := tx.Exec(ctx, "create table "+schema+".migrations (version int primary key, applied_at timestamptz not null default now())"); err != nil {
		return err
	}
	if version > len(files) {
		return fmt.Errorf("the tables are of version %d, and this program knows %d: it is too old", version, len(files))
	}
	for _, file := range files[version:] {
		if err := apply(ctx, tx, o, schema, file.Name()); err != nil {
			return fmt.Errorf("%s: %w", file.Name(), err)
		}
	}
	return nil
}

func apply(ctx context.Context, tx pgx.Tx, o Options, schema, file string) error {
	text, err := migrations.ReadFile("migrations/" + file)
	if err != nil {
		return err
	}
	partitioned := ""
	if o.Partitions > 0 {
		partitioned = "partition by hash (tenant, room)"
	}
	sql := strings.NewReplacer("$SCHEMA", schema, "$PARTITIONED", partitioned).Replace(string(text))
	if _, err := tx.Exec(ctx, sql); err != nil {
		return err
	}
	version, err := strconv.Atoi(file[:4])
	if err != nil {
		return err
	}
	if version == 1 {
		for i := range o.Partitions {
			if _, err := tx.Exec(ctx, fmt.Sprintf("create table %s.messages_%d partition of %[1]s.messages for values with (modulus %[3]d, remainder %[2]d)",
				schema, i, o.Partitions)); err != nil {
				return err
			}
		}
	}
	_, err = tx.Exec(ctx, "insert into "+schema+".migrations (version) values ($1)", version)
	return err
}

type queryer interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// tableVersion is that of the newest migration applied.
func tableVersion(ctx context.Context, q queryer, schema string) (version int, err error) {
	err = q.QueryRow(ctx, "select coalesce(max(version), 0) from "+schema+".migrations").Scan(&version)
	return version, err
}

// checkVersion fails unless the tables are just what this package needs.
func checkVersion(ctx context.Context, pool *pgxpool.Pool, name string) error {
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		return err
	}
	version, err := tableVersion(ctx, pool, pgx.Identifier{name}.Sanitize())
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr) && (pgErr.Code == "42P01" || pgErr.Code == "3F000"): // undefined table, invalid schema
		return fmt.Errorf("postgres: schema %s has no tables of gohub: call Migrate, or leave Options.SkipMigrations", name)
	case err != nil:
		return fmt.Errorf("postgres: version of schema %s: %w", name, err)
	case version != len(files):
		return fmt.Errorf("postgres: the tables of schema %s are of version %d, and this program needs %d: call Migrate, or use the program that fits", name, version, len(files))
	}
	return nil
}
