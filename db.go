package savepoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/memory"
	"github.com/liap-tui/savepoint/internal/queue"
	"github.com/liap-tui/savepoint/internal/record"
)

// DB is an open database. All methods may be called from several goroutines.
//
// A DB has methods of all features, so each method is in the file of its subject: Feed
// in feed.go, Stats in stats.go, and so on.
type DB struct {
	path string
	opt  Options
	log  *slog.Logger
	eng  engine.Engine

	queue     *queue.Queue[*step] // from the callers' half of a write to the committer's
	committer committer
	storing   sync.Mutex    // held while the engine runs a Commit or a SetNote: it takes one at a time
	across    chan struct{} // holds a value while a DB.Update makes its step

	kinds      kindRegister
	cache      *cache
	quarantine quarantine
	metrics    *metrics
	anomalies  *anomalies // nil: off
	notifier   notifier
	retention  retention
	report     OpenReport

	closed  atomic.Bool
	closing sync.Mutex // one Shutdown at a time

	backgroundTasks
}

// backgroundTasks are what Register starts and Shutdown ends.
type backgroundTasks struct {
	background context.Context // ends with Shutdown
	cancel     context.CancelFunc
	tasks      sync.WaitGroup
}

// Memory is the path of a database that lives in memory only.
const Memory = ":memory:"

// Open opens the database in the file at path, or makes the file. Nil options mean the
// defaults. With the path [Memory] the database is in memory.
//
// A file is open once at a time: a second Open of it returns ErrLocked, in the same
// process too. Other errors are ErrForeign, ErrNewer and ErrCorrupt, and those of the
// file system.
func Open(path string, opts *Options) (*DB, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	db := &DB{path: path, opt: opts.withDefaults(), across: make(chan struct{}, 1)}
	db.log = db.opt.Logger
	switch {
	case db.opt.Engine != nil:
		db.eng = db.opt.Engine
	case path == Memory:
		db.eng = memory.New()
	case path == "":
		return nil, errors.New("savepoint: open: the path is empty: name a file, or use savepoint.Memory")
	default:
		e, err := openFile(path, &db.opt)
		if err != nil {
			return nil, err
		}
		db.eng = e
	}
	db.report.Clean = true
	if r, ok := db.eng.(engine.Reporter); ok {
		db.report = r.OpenReport()
	}
	db.background, db.cancel = context.WithCancel(context.Background())
	db.kinds.init(db)
	db.cache = newCache(db.opt.Cache)
	db.quarantine.init()
	db.metrics = newMetrics()
	db.anomalies = newAnomalies(&db.opt)
	db.retention.init()
	db.committer.env = db.commitEnv()
	db.queue = queue.New(db.opt.Queue, db.opt.QueueBytes, db.committer.commitGroup)
	return db, nil
}

// commitEnv is what the committer sees of the database.
func (db *DB) commitEnv() commitEnv {
	return commitEnv{
		commit: func(steps []engine.Step, results []engine.Result) error {
			db.storing.Lock()
			defer db.storing.Unlock()
			return db.eng.Commit(context.Background(), steps, results)
		},
		stopped: func(cause error) {
			db.log.Error("writing has stopped: open the file again", "path", db.path, "error", cause)
		},
		committed: db.metrics.group,
		stored:    db.metrics.stored,
		resolving: db.metrics.wrote,
		notify:    db.notifier.notify,
	}
}

// setNote stores a note in the engine, never during a Commit.
func (db *DB) setNote(ctx context.Context, name string, value []byte) error {
	db.storing.Lock()
	defer db.storing.Unlock()
	return db.eng.SetNote(ctx, name, value)
}

// Path returns the path that the database was opened with.
func (db *DB) Path() string { return db.path }

// closeWait is how long Close waits for queued writes.
const closeWait = 30 * time.Second

// Close is [DB.Shutdown] with a limit of 30 seconds. It may be called twice.
func (db *DB) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	return db.Shutdown(ctx)
}

// Shutdown refuses new writes, makes all earlier ones durable, stores the snapshots
// that the kinds' policies want at the end, and closes the file. It may be called twice.
//
// When ctx ends first, Shutdown returns an error and skips what is left to do. Writes
// that were acknowledged are not lost; other writes of Go may be. The file is closed once
// the running callbacks and the group being committed have ended; the next Open may find
// that it was not closed cleanly.
func (db *DB) Shutdown(ctx context.Context) error {
	db.closing.Lock()
	defer db.closing.Unlock()
	if db.closed.Swap(true) {
		return nil
	}
	var errs []error
	if db.writable() == nil {
		if err := db.flush(ctx); err != nil {
			errs = append(errs, err)
		}
		if err := db.lastSnapshots(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	db.cancel()
	ended := make(chan error, 1)
	go func() { // the committer may still use the engine when ctx ends
		db.queue.Close()
		db.awaitTasks()
		db.abandonAll(ctx)
		ended <- db.eng.Close()
	}()
	select {
	case err := <-ended:
		if err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", db.path, err))
		}
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("close %s: writes are still running, and the file is closed after them: %w", db.path, context.Cause(ctx)))
	}
	return errors.Join(errs...)
}

// awaitTasks waits for the tasks that Register has started. Once the lock is free, no
// Register starts another one: it finds the database closed. The tasks take the lock
// too, so it must not be held while waiting.
func (db *DB) awaitTasks() {
	func() {
		db.kinds.mu.Lock()
		defer db.kinds.mu.Unlock()
	}()
	db.tasks.Wait()
}

// abandonAll fails the unsaved writes of all machines.
func (db *DB) abandonAll(ctx context.Context) {
	why := db.writable()
	if why == nil {
		why = ErrClosed
	}
	for _, m := range db.cache.machines() {
		db.abandon(ctx, m.kind, m.id, fmt.Errorf("%w: the write was not stored", why))
	}
}

// lastSnapshots stores a snapshot of each machine in memory whose policy wants one at
// the end.
func (db *DB) lastSnapshots(ctx context.Context) error {
	var acks []*Ack
	for _, m := range db.cache.machines() {
		if !m.kind.strategy.byPolicy() || m.kind.policy.NoClose {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !m.tryAcquire() { // the machine is in use
			continue
		}
		due := m.known && !m.failed.Load() && m.exists() && m.seq > m.h.Snapshot && !m.kind.upcasts(m.h.Version)
		m.release()
		if !due {
			continue
		}
		acks = append(acks, db.write(ctx, request{m.kind, m.id, opFlush, defaultWriteOptions}, func(d *draft) error {
			if !d.m.exists() || d.m.seq <= d.m.h.Snapshot {
				return nil
			}
			return d.snapshot("close", nil)
		}))
	}
	var errs []error
	for _, a := range acks {
		if _, err := a.Wait(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// wrapEngineError returns an engine's error about a machine as the library's own.
func (db *DB) wrapEngineError(k *kind, id string, err error) error {
	var d *engine.Damage
	switch {
	case err == nil:
		return nil
	case errors.Is(err, record.ErrNewer):
		return fmt.Errorf("%w: %s %q: %w", ErrNewer, k.name, id, err)
	case errors.As(err, &d):
		return &CorruptError{Kind: k.name, ID: id, Part: d.Part, Seq: d.Seq, Why: d.Why}
	}
	return err
}

// notFoundError returns the error of a machine that does not exist or is deleted.
func notFoundError(m *machine) error {
	if m.seq > 0 && m.h.Deleted {
		return fmt.Errorf("%w: %s %q", ErrDeleted, m.kind.name, m.id)
	}
	return fmt.Errorf("%w: %s %q", ErrNotFound, m.kind.name, m.id)
}

// OpenReport says what Open found in the file, and what it did.
type OpenReport = engine.OpenReport

// OpenReport returns what Open found and did. Of a database in memory it says only that
// the close was clean; of an [Options.Engine] it is the engine's own report, if the
// engine is an engine.Reporter.
func (db *DB) OpenReport() OpenReport { return db.report }
