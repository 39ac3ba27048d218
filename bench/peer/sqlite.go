package peer

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// sqliteStore is SQLite through database/sql, with either driver. Settings: WAL
// with synchronous=FULL, so that a commit syncs; locking_mode=EXCLUSIVE, which
// spares the shared memory; a page cache and a map of 256 MiB; one connection
// with prepared statements; tables without rowids, clustered by machine.
type sqliteStore struct {
	db   *sql.DB
	conn *sql.Conn

	begin, commit, rollback        *sql.Stmt
	grow, create, insert, snapshot *sql.Stmt
	head, read, count              *sql.Stmt
}

const sqliteSchema = `
CREATE TABLE IF NOT EXISTS heads (machine TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (machine TEXT, seq INTEGER, data BLOB, PRIMARY KEY (machine, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS snapshots (machine TEXT, seq INTEGER, data BLOB, PRIMARY KEY (machine, seq)) WITHOUT ROWID;`

func openSQLite(driver, path string) (Store, error) {
	db, err := sql.Open(driver, path)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	s := &sqliteStore{db: db}
	if err := s.prepare(context.Background()); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func (s *sqliteStore) prepare(ctx context.Context) (err error) {
	if s.conn, err = s.db.Conn(ctx); err != nil {
		return err
	}
	for _, q := range []string{
		"PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL",
		"PRAGMA cache_size=-262144", "PRAGMA mmap_size=268435456", sqliteSchema,
	} {
		if _, err := s.conn.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
	}
	for q, stmt := range map[string]**sql.Stmt{
		"BEGIN IMMEDIATE": &s.begin, "COMMIT": &s.commit, "ROLLBACK": &s.rollback,
		"UPDATE heads SET seq = ?1 WHERE machine = ?2 AND seq = ?1 - 1":          &s.grow,
		"INSERT INTO heads (machine, seq) VALUES (?, 1) ON CONFLICT DO NOTHING":  &s.create,
		"INSERT INTO events (machine, seq, data) VALUES (?, ?, ?)":               &s.insert,
		"INSERT OR REPLACE INTO snapshots (machine, seq, data) VALUES (?, ?, ?)": &s.snapshot,
		"SELECT coalesce((SELECT seq FROM heads WHERE machine = ?), 0)":          &s.head,
		"SELECT data FROM events WHERE machine = ? ORDER BY seq":                 &s.read,
		"SELECT count(*) FROM events":                                            &s.count,
	} {
		if *stmt, err = s.conn.PrepareContext(ctx, q); err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
	}
	return nil
}

func (s *sqliteStore) Start(*Append) (Pending, error) { panic("peer: SQLite is used in batches") }

func (s *sqliteStore) Batch(as []*Append) error {
	if _, err := s.begin.Exec(); err != nil {
		return err
	}
	for _, a := range as {
		if err := s.one(a); err != nil {
			_, back := s.rollback.Exec()
			return errors.Join(err, back)
		}
	}
	_, err := s.commit.Exec()
	return err
}

func (s *sqliteStore) one(a *Append) error {
	var res sql.Result
	var err error
	if a.Seq == 1 {
		res, err = s.create.Exec(a.Machine)
	} else {
		res, err = s.grow.Exec(a.Seq, a.Machine)
	}
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil {
		return err
	} else if n != 1 {
		a.Err = conflict(a, 0)
		return nil
	}
	if _, err := s.insert.Exec(a.Machine, a.Seq, a.Event.Bytes); err != nil {
		return err
	}
	if a.State != nil {
		_, err = s.snapshot.Exec(a.Machine, a.Seq, a.State)
	}
	return err
}

func (s *sqliteStore) Read(machine string, fn func([]byte)) (seq uint64, err error) {
	if err := s.head.QueryRow(machine).Scan(&seq); err != nil {
		return 0, err
	}
	rows, err := s.read.Query(machine)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var event sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&event); err != nil {
			return 0, err
		}
		fn(event)
	}
	return seq, rows.Err()
}

func (s *sqliteStore) Count() (n int64, err error) {
	return n, s.count.QueryRow().Scan(&n)
}

func (s *sqliteStore) Close() error {
	for _, stmt := range []*sql.Stmt{s.begin, s.commit, s.rollback, s.grow, s.create, s.insert, s.snapshot, s.head, s.read, s.count} {
		_ = stmt.Close()
	}
	return errors.Join(s.conn.Close(), s.db.Close())
}
