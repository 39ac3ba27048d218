package savepoint

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/parallel"
	"github.com/liap-tui/savepoint/internal/record"
)

// MigrateOptions say which version the machines of a kind are to have.
type MigrateOptions struct {
	// To is the version; zero means the kind's. An older one rolls back: Down
	// makes the states, and a program of that version can register the kind again
	// once all machines are there. End this program then: its next write to a
	// machine goes up again. Records of the newer version stay, and answer
	// ErrNewer in the older program.
	To Version
	// Restore rolls back without Down: each machine gets the newest snapshot that
	// To stored of it. What was written since stays in its history only.
	Restore bool
	// Workers migrate machines at once. Default 16.
	Workers int
	// Progress is called after each machine, from one goroutine at a time.
	Progress func(done, total int)
	// DryRun migrates copies and writes nothing.
	DryRun bool
}

// MigrateReport tells what Migrate did.
type MigrateReport struct {
	Kind     string
	To       Version
	DryRun   bool
	Machines int     // that were of another version
	Migrated int     // in a dry run: that could be
	Failed   []error // of the others, each naming its machine; they stayed as they were
	// Changes are what a dry run would make of the states of its first 100
	// machines, in the order of their ids.
	Changes []MachineChange
	Took    time.Duration
}

// MachineChange is what a migration makes of one machine's state.
type MachineChange struct {
	ID          string
	Seq         uint64 // the stored state is right after this record
	From, To    Version
	Differences []string // `players[2].score: 5 != 7`; at most 10
}

// mostChanges is how many machines a dry run tells the changes of.
const mostChanges = 100

// Migrate brings all machines of the kind to its version, or, with To, back to
// an older one: each in a step of its own, with a record "migrated". What a
// crash or ctx leaves undone, the next Migrate does. Machines that are used
// meanwhile are migrated by their own writes. The snapshot from before is kept.
//
// It answers an error only when it could not go on, or when To is older and
// machines are left above it; what is wrong with single machines stands in the
// report. Machines of a version that is read as it is are left alone, on the way
// back those of To and of older ones.
func (s *Store[S]) Migrate(ctx context.Context, o MigrateOptions) (*MigrateReport, error) {
	rep, err := s.db.migrateAll(ctx, s.kind, o)
	if err != nil {
		return rep, fmt.Errorf("migrate %s: %w", s.kind.name, err)
	}
	return rep, nil
}

func (db *DB) migrateAll(ctx context.Context, k *kind, o MigrateOptions) (*MigrateReport, error) {
	start := time.Now()
	orDefault(&o.To, k.version)
	if o.Workers <= 0 {
		o.Workers = 16
	}
	rep := &MigrateReport{Kind: k.name, To: o.To, DryRun: o.DryRun}
	if err := k.leadsBack(o.To); err != nil {
		return rep, err
	}
	if db.closed.Load() {
		return rep, ErrClosed
	}
	if err := db.writable(); err != nil && !o.DryRun {
		return rep, err
	}
	ids, err := db.otherVersions(ctx, k, o.To)
	if err != nil {
		return rep, err
	}
	rep.Machines = len(ids)
	changes := make([]*MachineChange, min(len(ids), mostChanges))
	done := 0
	err = parallel.Do(ctx, o.Workers, len(ids), func(i int) (*MachineChange, error) {
		if o.DryRun {
			return db.tryMigration(ctx, k, ids[i], o.To, o.Restore)
		}
		return nil, db.migrateOne(ctx, k, ids[i], o)
	}, func(i int, change *MachineChange, err error) error {
		done++
		if i < len(changes) {
			changes[i] = change
		}
		switch {
		case err == nil:
			rep.Migrated++
		case errors.Is(err, ErrNotFound): // purged meanwhile
		case ctx.Err() != nil || errors.Is(err, ErrStopped) || errors.Is(err, ErrClosed) || errors.Is(err, ErrInDoubt) || errors.Is(err, ErrDiskFull):
			return err
		default:
			rep.Failed = append(rep.Failed, err)
		}
		return reportProgress(o.Progress, done, len(ids))
	})
	for _, c := range changes {
		if c != nil {
			rep.Changes = append(rep.Changes, *c)
		}
	}
	if err == nil && !o.DryRun && o.To != k.version {
		err = db.rolledBack(ctx, k, o.To)
	}
	rep.Took = time.Since(start)
	return rep, err
}

// leadsBack says why machines cannot go to a version.
func (k *kind) leadsBack(to Version) error {
	if to == k.version {
		return nil
	}
	if _, err := k.path(to); err != nil {
		return err
	}
	if len(k.migrations.hops[to]) == 0 {
		return fmt.Errorf("%w: none begins at version %s", ErrNoMigration, to)
	}
	return nil
}

// otherVersions are the ids of the machines that have to be changed to have
// version to.
func (db *DB) otherVersions(ctx context.Context, k *kind, to Version) (ids []string, err error) {
	err = db.eng.Scan(ctx, keyOf(k.name, ""), "", 0, func(key string, eh engine.Head) error {
		_, id, _ := splitKey(key)
		var h record.Head
		if eh.Err != nil || h.Parse(eh.Bytes, key) != nil || k.changes(h.Version, to) {
			ids = append(ids, id) // one with a damaged head answers for itself
		}
		return nil
	})
	return ids, err
}

// changes says whether a machine of a version has to be changed to have version
// to.
func (k *kind) changes(version uint64, to Version) bool {
	if to == k.version {
		return k.upcasts(version)
	}
	return version > to.pack()
}

// migrateOne is one machine's part, in a step of its own.
func (db *DB) migrateOne(ctx context.Context, k *kind, id string, o MigrateOptions) error {
	own := newWriteOptions([]WriteOption{OriginSystem})
	ack := db.write(ctx, request{k, id, opMigrate, own}, func(d *draft) error {
		if d.m.seq == 0 {
			return notFoundError(d.m)
		}
		if !k.changes(d.h.Version, o.To) {
			return nil
		}
		deleted := d.h.Deleted
		var err error
		if o.To == k.version {
			err = d.migrateHere()
		} else {
			err = migrateBack(ctx, d, o.To, o.Restore)
		}
		if err == nil && deleted { // it is again
			err = d.tombstone(o.To.pack())
		}
		return err
	})
	_, err := ack.Wait(ctx)
	return err
}

// tryMigration does on a copy what migrateOne does.
func (db *DB) tryMigration(ctx context.Context, k *kind, id string, to Version, restore bool) (*MachineChange, error) {
	if _, err := db.awaitDurable(ctx, k, id); err != nil {
		return nil, err
	}
	r, _, _, err := db.rebuild(ctx, k, id, engine.All, 0) // lifts, applies and validates
	if err != nil {
		return nil, err
	}
	if r.stored.Number == 0 {
		return nil, notFoundError(newMachine(k, id))
	}
	l := &upcaster{kind: k, id: id}
	if to != k.version {
		return db.tryBack(ctx, l, r, to, restore)
	}
	s, err := db.newestSnapshot(ctx, k, id, func(s *record.Snapshot) bool { return k.upcasts(s.Version) })
	if err != nil || s == nil {
		return nil, err
	}
	up, err := l.state(s.Seq, s.Version, s.State)
	if err != nil {
		return nil, err
	}
	again, err := l.state(s.Seq, s.Version, s.State)
	if err == nil {
		err = l.steady(s.Seq, s.Version, up, again)
	}
	return &MachineChange{ID: id, Seq: s.Seq, From: unpackVersion(s.Version), To: to, Differences: differences(s.State, up)}, err
}

// tryBack does on a copy what migrateBack does.
func (db *DB) tryBack(ctx context.Context, l *upcaster, r *rebuiltState, to Version, restore bool) (*MachineChange, error) {
	now, err := l.kind.encode(l.kind.value(r.st))
	if err != nil {
		return nil, err
	}
	down, _, err := db.backTo(ctx, l, r.seq, to, now, restore)
	if err != nil {
		return nil, err
	}
	c := &MachineChange{ID: l.id, Seq: r.seq, From: l.kind.version, To: to, Differences: differences(now, down)}
	up, err := l.state(r.seq, to.pack(), down)
	if err != nil {
		return c, err
	}
	st, err := l.kind.decode(up)
	if err == nil && !r.head.Deleted {
		err = l.kind.valid(l.kind.value(st))
	}
	if err != nil {
		return c, l.failed(r.seq, to.pack(), "", err)
	}
	return c, nil
}

// backTo is an encoded state as version to has it: what Down makes of the newest
// one, or the newest snapshot that the version stored.
func (db *DB) backTo(ctx context.Context, l *upcaster, seq uint64, to Version, now []byte, restore bool) (b []byte, from string, err error) {
	if !restore {
		b, err = l.lower(seq, to, now)
		return b, fmt.Sprintf("from version %s to %s", l.kind.version, to), err
	}
	s, err := db.newestSnapshot(ctx, l.kind, l.id, func(s *record.Snapshot) bool { return s.Version == to.pack() })
	if err == nil && s == nil {
		err = fmt.Errorf("%w: %s %q: no snapshot of version %s is kept", ErrNoPoint, l.kind.name, l.id, to)
	}
	if err != nil {
		return nil, "", err
	}
	return s.State, fmt.Sprintf("from version %s to %s: restored from snapshot %d", l.kind.version, to, s.Seq), nil
}

// newestSnapshot is the machine's newest good one that fits, nil if there is
// none.
func (db *DB) newestSnapshot(ctx context.Context, k *kind, id string, fits func(*record.Snapshot) bool) (found *record.Snapshot, err error) {
	key := keyOf(k.name, id)
	want := engine.LoadRange{Snapshot: engine.EverySnapshot, SnapshotTo: engine.All, Newest: true}
	_, err = db.eng.Load(ctx, key, want, func(it engine.Item) error {
		var s record.Snapshot
		if it.Err != nil || s.Parse(append([]byte(nil), it.Bytes...), key) != nil || !fits(&s) {
			return ctx.Err()
		}
		found = &s
		return engine.Stop
	})
	return found, db.wrapEngineError(k, id, err)
}

// steady says that a migration gave two answers.
func (l *upcaster) steady(seq, version uint64, a, b []byte) error {
	if how := differences(a, b); len(how) > 0 {
		return l.failed(seq, version, "", fmt.Errorf("it is not deterministic: %s", strings.Join(how, "; ")))
	}
	return nil
}

// migrateBack records the state as an older version has it.
func migrateBack(ctx context.Context, d *draft, to Version, restore bool) error {
	k := d.m.kind
	l := &upcaster{kind: k, id: d.m.id}
	now, err := k.encode(d.value())
	if err != nil {
		return err
	}
	old, cause, err := d.db.backTo(ctx, l, d.seq, to, now, restore)
	if err != nil {
		return err
	}
	up, err := l.state(d.seq, to.pack(), old) // what this program makes of it again
	if err != nil {
		return err
	}
	st, err := k.decode(up)
	if err != nil {
		return err
	}
	own := newWriteOptions([]WriteOption{OriginSystem, Cause(cause)})
	d.opt = own
	env := d.envelope(replacedName)
	env.Version, env.Reason, env.Payload = to.pack(), reasonMigrated, old
	if err := d.addState(&env, st, up, false); err != nil {
		return err
	}
	if k.strategy == EventSourced {
		return nil
	}
	d.stateSnapshot(to.pack(), old, reasonMigrated, nil)
	return nil
}

// rolledBack lets a program of the older version register the kind again, once
// no machine is of a newer one.
func (db *DB) rolledBack(ctx context.Context, k *kind, to Version) error {
	counts, err := db.eng.Versions(ctx, k.number)
	if err != nil {
		return err
	}
	left := int64(0)
	for v, n := range counts {
		if v > to.pack() {
			left += n
		}
	}
	if left > 0 {
		return fmt.Errorf("%d machines are of a newer version than %s: a program of that version cannot register the kind", left, to)
	}
	return db.kinds.lowerVersion(ctx, k, to)
}

// MigrationStatus tells which versions the machines of a kind have.
type MigrationStatus struct {
	Kind     string
	Version  Version         // of the kind
	Versions []VersionStatus // that machines have, oldest first
}

// VersionStatus tells about the machines of one version.
type VersionStatus struct {
	Version  Version
	Machines int64 // deleted ones included
	// Path are the versions through which migrations lead to the kind's. Empty:
	// what the version wrote is read as it is, or, with Err, not at all.
	Path []Version
	// Back says that all migrations of the path have a Down.
	Back bool
	Err  error // ErrNoMigration or ErrNewer
}

// Done says that nothing is left to be migrated.
func (s MigrationStatus) Done() bool {
	for _, v := range s.Versions {
		if len(v.Path) > 0 || v.Err != nil {
			return false
		}
	}
	return true
}

// MigrationStatus counts the machines of the kind per version, as they are on
// disk, from counts that are kept with them: it looks at no machine.
func (s *Store[S]) MigrationStatus(ctx context.Context) (MigrationStatus, error) {
	k := s.kind
	st := MigrationStatus{Kind: k.name, Version: k.version}
	if s.db.closed.Load() {
		return st, ErrClosed
	}
	counts, err := s.db.eng.Versions(ctx, k.number)
	if err != nil {
		return st, fmt.Errorf("versions of %s: %w", k.name, err)
	}
	for _, v := range inOrder(counts) {
		vs := VersionStatus{Version: unpackVersion(v), Machines: counts[v]}
		legs, err := k.path(vs.Version)
		vs.Err = err
		if len(legs) > 0 {
			vs.Back = true
			vs.Path = append(vs.Path, vs.Version)
		}
		for _, l := range legs {
			vs.Path = append(vs.Path, l.to)
			vs.Back = vs.Back && (l.state == nil || l.state.Down != nil)
		}
		st.Versions = append(st.Versions, vs)
	}
	return st, nil
}
