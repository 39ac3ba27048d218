package savepoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/parallel"
	"github.com/liap-tui/savepoint/internal/record"
)

// MigrateOptions say to which version the machines of a kind are migrated, and how.
type MigrateOptions struct {
	// To is the version; zero means the kind's. With an older version Migrate rolls
	// back: Down makes the states, and once every machine is back, a program of that
	// version can register the kind again. End this program then, because its next
	// write to a machine migrates the machine again. Records of newer versions stay,
	// and match ErrNewer in the older program.
	To Version
	// Restore rolls back without Down: each machine gets the newest snapshot that
	// version To stored of it. Later records stay in its history only.
	Restore bool
	// Workers is how many machines are migrated at once. Default 16.
	Workers int
	// Progress is called after each machine, from one goroutine at a time.
	Progress func(done, total int)
	// DryRun migrates copies and writes nothing.
	DryRun bool
}

// MigrateReport is what Migrate did.
type MigrateReport struct {
	Kind     string
	To       Version
	DryRun   bool
	Machines int     // that have another version
	Migrated int     // of these; in a dry run, those that could be migrated
	Failed   []error // of the others, which each names; they were not changed
	// Changes are what a dry run would change in the states of its first 100
	// machines, in the order of their ids.
	Changes []MachineChange
	Took    time.Duration // how long the migration took
}

// MachineChange is what a migration changes in the state of one machine.
type MachineChange struct {
	ID          string
	Seq         uint64 // the state that was compared is right after this record
	From, To    Version
	Differences []string // `players[2].score: 5 != 7`; the first 10
}

// mostChanges is for how many machines a dry run lists the changes.
const mostChanges = 100

// Migrate brings all machines of the kind to its version or, with To, back to an
// older one. Each machine gets a record "migrated", and the snapshot before it is
// kept. Migrate may be repeated: it continues where a crash or the end of ctx
// stopped it. Machines may be in use meanwhile; their own writes migrate them too.
// Machines whose state is read unchanged are left alone, and, on the way back,
// those of versions older than To.
//
// The error says why Migrate could not go on, or that machines newer than To are
// left; errors of single machines are in the report.
func (s *Store[S]) Migrate(ctx context.Context, o MigrateOptions) (*MigrateReport, error) {
	orDefault(&o.To, s.kind.version)
	m := &migrator{db: s.db, kind: s.kind, opt: o, rep: &MigrateReport{Kind: s.kind.name, To: o.To, DryRun: o.DryRun}}
	start := time.Now()
	err := m.run(ctx)
	m.rep.Took = time.Since(start)
	if err != nil {
		err = fmt.Errorf("migrate %s: %w", s.kind.name, err)
	}
	return m.rep, err
}

// migrator is one Migrate.
type migrator struct {
	db   *DB
	kind *kind
	opt  MigrateOptions
	rep  *MigrateReport
}

func (m *migrator) run(ctx context.Context) error {
	if err := m.checkTarget(); err != nil {
		return err
	}
	if m.db.closed.Load() {
		return ErrClosed
	}
	if err := m.db.writable(); err != nil && !m.opt.DryRun {
		return err
	}
	ids, err := m.machines(ctx)
	if err != nil {
		return err
	}
	if err := m.migrateAll(ctx, ids); err != nil {
		return err
	}
	if m.opt.DryRun || m.opt.To == m.kind.version {
		return nil
	}
	return m.allowOlderProgram(ctx)
}

// checkTarget returns why the kind's machines cannot have version To.
func (m *migrator) checkTarget() error {
	to := m.opt.To
	if to == m.kind.version {
		return nil
	}
	if _, err := m.kind.path(to); err != nil {
		return err
	}
	if len(m.kind.migrations.hops[to]) == 0 {
		return fmt.Errorf("%w: none starts at version %s", ErrNoMigration, to)
	}
	return nil
}

// machines returns the ids of the machines that have another version. Those with a
// damaged head are included: the attempt to migrate them reports it.
func (m *migrator) machines(ctx context.Context) (ids []string, err error) {
	err = m.db.eng.Scan(ctx, keyOf(m.kind.name, ""), "", 0, func(key string, eh engine.Head) error {
		_, id, _ := splitKey(key)
		var h record.Head
		if eh.Err != nil || h.Parse(eh.Bytes, key) != nil || m.changes(h.Version) {
			ids = append(ids, id)
		}
		return nil
	})
	return ids, err
}

// changes reports whether a machine of a version has to be changed.
func (m *migrator) changes(version uint64) bool {
	if m.opt.To == m.kind.version {
		return m.kind.upcasts(version)
	}
	return version > m.opt.To.pack()
}

// migrateAll migrates the machines, several at once, and fills in the report.
func (m *migrator) migrateAll(ctx context.Context, ids []string) error {
	rep := m.rep
	rep.Machines = len(ids)
	changes := make([]*MachineChange, min(len(ids), mostChanges))
	done, workers := 0, m.opt.Workers
	if workers <= 0 {
		workers = 16
	}
	err := parallel.Do(ctx, workers, len(ids), func(i int) (*MachineChange, error) {
		if m.opt.DryRun {
			return m.try(ctx, ids[i])
		}
		return nil, m.migrate(ctx, ids[i])
	}, func(i int, change *MachineChange, err error) error {
		done++
		if i < len(changes) {
			changes[i] = change
		}
		switch {
		case err == nil:
			rep.Migrated++
		case errors.Is(err, ErrNotFound): // it was purged meanwhile
		case ctx.Err() != nil || errors.Is(err, ErrStopped) || errors.Is(err, ErrClosed) || errors.Is(err, ErrInDoubt) || errors.Is(err, ErrDiskFull):
			return err
		default:
			rep.Failed = append(rep.Failed, err)
		}
		return reportProgress(m.opt.Progress, done, len(ids))
	})
	for _, c := range changes {
		if c != nil {
			rep.Changes = append(rep.Changes, *c)
		}
	}
	return err
}

// migrate migrates one machine, in a step of its own.
func (m *migrator) migrate(ctx context.Context, id string) error {
	own := newWriteOptions([]WriteOption{OriginSystem})
	ack := m.db.write(ctx, request{m.kind, id, opMigrate, own}, func(d *draft) error {
		if d.m.seq == 0 {
			return notFoundError(d.m)
		}
		if !m.changes(d.h.Version) {
			return nil
		}
		deleted := d.h.Deleted
		var err error
		if m.opt.To == m.kind.version {
			err = d.migrateHere()
		} else {
			err = m.migrateBack(ctx, d)
		}
		if err == nil && deleted { // the whole state made it live again
			err = d.tombstone(m.opt.To.pack())
		}
		return err
	})
	_, err := ack.Wait(ctx)
	return err
}

// migrateBack records the state of a draft's machine as version To has it.
func (m *migrator) migrateBack(ctx context.Context, d *draft) error {
	k, to := m.kind, m.opt.To
	u := &upcaster{kind: k, id: d.m.id}
	now, err := k.encode(d.value())
	if err != nil {
		return err
	}
	old, cause, err := m.olderState(ctx, u, d.seq, now)
	if err != nil {
		return err
	}
	up, err := u.state(d.seq, to.pack(), old) // the live state is of this program's version
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

// try does on a copy what migrate does.
func (m *migrator) try(ctx context.Context, id string) (*MachineChange, error) {
	if _, err := m.db.awaitDurable(ctx, m.kind, id); err != nil {
		return nil, err
	}
	r, _, _, err := m.db.rebuild(ctx, m.kind, id, engine.All, 0) // upcasts, applies and validates
	if err != nil {
		return nil, err
	}
	if r.stored.Number == 0 {
		return nil, notFoundError(newMachine(m.kind, id))
	}
	u := &upcaster{kind: m.kind, id: id}
	if m.opt.To != m.kind.version {
		return m.tryBack(ctx, u, r)
	}
	s, err := m.newestSnapshot(ctx, id, func(s *record.Snapshot) bool { return m.kind.upcasts(s.Version) })
	if err != nil || s == nil {
		return nil, err
	}
	up, err := u.state(s.Seq, s.Version, s.State)
	if err != nil {
		return nil, err
	}
	again, err := u.state(s.Seq, s.Version, s.State)
	if err == nil {
		err = u.checkSame(s.Seq, s.Version, up, again)
	}
	return &MachineChange{ID: id, Seq: s.Seq, From: unpackVersion(s.Version), To: m.opt.To, Differences: differences(s.State, up)}, err
}

// tryBack does on a copy what migrateBack does.
func (m *migrator) tryBack(ctx context.Context, u *upcaster, r *rebuiltState) (*MachineChange, error) {
	k, to := m.kind, m.opt.To
	now, err := k.encode(k.value(r.st))
	if err != nil {
		return nil, err
	}
	old, _, err := m.olderState(ctx, u, r.seq, now)
	if err != nil {
		return nil, err
	}
	c := &MachineChange{ID: u.id, Seq: r.seq, From: k.version, To: to, Differences: differences(now, old)}
	up, err := u.state(r.seq, to.pack(), old)
	if err != nil {
		return c, err
	}
	st, err := k.decode(up)
	if err == nil && !r.head.Deleted {
		err = k.valid(k.value(st))
	}
	if err != nil {
		return c, u.failed(r.seq, to.pack(), "", err)
	}
	return c, nil
}

// olderState returns a state of a machine as version To has it, and a text of how it was
// made: Down of now, the newest state, or the newest snapshot that version To
// stored.
func (m *migrator) olderState(ctx context.Context, u *upcaster, seq uint64, now []byte) (b []byte, cause string, err error) {
	to := m.opt.To
	cause = fmt.Sprintf("from version %s to %s", m.kind.version, to)
	if !m.opt.Restore {
		b, err = u.downcast(seq, to, now)
		return b, cause, err
	}
	s, err := m.newestSnapshot(ctx, u.id, func(s *record.Snapshot) bool { return s.Version == to.pack() })
	if err == nil && s == nil {
		err = fmt.Errorf("%w: %s %q: no snapshot of version %s is kept", ErrNoPoint, m.kind.name, u.id, to)
	}
	if err != nil {
		return nil, "", err
	}
	return s.State, fmt.Sprintf("%s: restored from snapshot %d", cause, s.Seq), nil
}

// newestSnapshot returns a machine's newest readable snapshot for which fits is true,
// nil if the machine has no such snapshot.
func (m *migrator) newestSnapshot(ctx context.Context, id string, fits func(*record.Snapshot) bool) (found *record.Snapshot, err error) {
	key := keyOf(m.kind.name, id)
	want := engine.LoadRange{Snapshot: engine.EverySnapshot, SnapshotTo: engine.All, Newest: true}
	_, err = m.db.eng.Load(ctx, key, want, func(it engine.Item) error {
		var s record.Snapshot
		if it.Err != nil || s.Parse(append([]byte(nil), it.Bytes...), key) != nil || !fits(&s) {
			return ctx.Err()
		}
		found = &s
		return engine.Stop
	})
	return found, m.db.wrapEngineError(m.kind, id, err)
}

// allowOlderProgram lets a program of version To register the kind again. It returns an
// error if machines of newer versions are left.
func (m *migrator) allowOlderProgram(ctx context.Context) error {
	to := m.opt.To
	counts, err := m.db.eng.Versions(ctx, m.kind.number)
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
	return m.db.kinds.lowerVersion(ctx, m.kind, to)
}

// MigrationStatus is how many machines of a kind have which version.
type MigrationStatus struct {
	Kind     string
	Version  Version         // of the kind
	Versions []VersionStatus // that machines have, oldest first
}

// VersionStatus is about the machines of one version.
type VersionStatus struct {
	Version  Version
	Machines int64 // with this version; deleted ones count
	// Path are the versions that migrations pass on the way to the kind's. It is
	// empty if states of this version are read unchanged, or, with Err, not at all.
	Path []Version
	// Back reports whether all migrations of states on the path have a Down.
	Back bool
	// Err is nil, or matches ErrNoMigration or ErrNewer.
	Err error
}

// Done reports whether no machine is left to be migrated.
func (s MigrationStatus) Done() bool {
	for _, v := range s.Versions {
		if len(v.Path) > 0 || v.Err != nil {
			return false
		}
	}
	return true
}

// MigrationStatus returns how many machines of the kind have which version. The
// engine keeps these counts, so that no machine is read.
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
		path, err := k.path(vs.Version)
		vs.Err = err
		if len(path) > 0 {
			vs.Back = true
			vs.Path = append(vs.Path, vs.Version)
		}
		for _, h := range path {
			vs.Path = append(vs.Path, h.to)
			vs.Back = vs.Back && (h.state == nil || h.state.Down != nil)
		}
		st.Versions = append(st.Versions, vs)
	}
	return st, nil
}
