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
	"github.com/liap-tui/savepoint/internal/commit"
	"github.com/liap-tui/savepoint/internal/record"
)

// DB is an open database. All methods may be called from several goroutines.
type DB struct {
	path string
	opt  Options
	log  *slog.Logger
	eng  engine.Engine

	queue      *commit.Queue[*step]
	group      group // the committer's own
	cache      *cache
	metrics    *metrics
	quarantine quarantine
	report     OpenReport
	notifier   notifier
	retention  retention
	anomalies  *anomalies // nil: off

	mu    sync.Mutex // guards kinds
	kinds map[string]*registered

	across  chan struct{} // one db.Update at a time
	storing sync.Mutex    // the engine's one writer: the committer, or a SetNote
	closed  atomic.Bool
	closing sync.Mutex
	stopped atomic.Pointer[error]

	background context.Context // ends with Close
	cancel     context.CancelFunc
	tasks      sync.WaitGroup
}

// group is room the committer uses again and again.
type group struct {
	live  []*step
	steps []engine.Step
	out   []engine.Result
}

// Memory is the path of a database that lives in memory only.
const Memory = ":memory:"

// Open opens the database in the file at path, or makes it. The file has one
// user at a time: a second Open answers ErrLocked, from this process too. With
// the path [Memory] nothing is stored.
func Open(path string, opts *Options) (*DB, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	db := &DB{path: path, opt: opts.withDefaults(), kinds: map[string]*registered{}, across: make(chan struct{}, 1)}
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
	db.metrics = newMetrics()
	db.cache = newCache(db.opt.Cache)
	db.quarantine.init()
	db.retention.init()
	if o := db.opt.Anomalies; o != nil {
		db.anomalies = &anomalies{opt: o.withDefaults()}
	}
	db.queue = commit.New(db.opt.Queue, db.opt.QueueBytes, db.commitGroup)
	return db, nil
}

// Path is the path the database was opened with.
func (db *DB) Path() string { return db.path }

// closeWait bounds how long Close waits for queued writes.
const closeWait = 30 * time.Second

// Close is Shutdown with 30 seconds of time. It may be called twice.
func (db *DB) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	return db.Shutdown(ctx)
}

// Shutdown takes no more writes, makes those that were taken durable, stores
// the snapshots that the kinds' policies want at the end, and closes the file.
// When ctx ends first, the rest is left out, not what was acknowledged: Shutdown
// returns, and the file is closed once the callbacks and the group under way
// have ended. It may count as not cleanly closed then.
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
	go func() { // the engine must not go away under the committer
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
		errs = append(errs, fmt.Errorf("close %s: writes are still under way, the file is closed behind them: %w", db.path, context.Cause(ctx)))
	}
	return errors.Join(errs...)
}

// awaitTasks waits for what Register began. A Register under way is through
// once the lock is free, and a later one finds the database closed; the tasks
// themselves need the lock.
func (db *DB) awaitTasks() {
	func() {
		db.mu.Lock()
		defer db.mu.Unlock()
	}()
	db.tasks.Wait()
}

// abandonAll answers the writes that were never to be stored.
func (db *DB) abandonAll(ctx context.Context) {
	why := db.writable()
	if why == nil {
		why = ErrClosed
	}
	for _, m := range db.cache.machines() {
		db.abandon(ctx, m.kind, m.id, fmt.Errorf("%w: the write was not stored", why))
	}
}

// lastSnapshots stores the snapshots of Close.
func (db *DB) lastSnapshots(ctx context.Context) error {
	var acks []*Ack
	for _, m := range db.cache.machines() {
		if !m.kind.strategy.byPolicy() || m.kind.policy.NoClose {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !m.tryAcquire() { // somebody still works with it
			continue
		}
		due := m.known && !m.failed.Load() && m.exists() && m.seq > m.h.Snapshot && !m.kind.upcasts(m.h.Version)
		m.release()
		if !due {
			continue
		}
		o := newWriteOptions(nil)
		acks = append(acks, db.write(ctx, m.kind, m.id, o, opFlush, func(d *draft) error {
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

// wrapEngineError turns an engine's error about a machine into the library's words.
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

// notFoundError says why a machine cannot be loaded.
func notFoundError(m *machine) error {
	if m.seq > 0 && m.h.Deleted {
		return fmt.Errorf("%w: %s %q", ErrDeleted, m.kind.name, m.id)
	}
	return fmt.Errorf("%w: %s %q", ErrNotFound, m.kind.name, m.id)
}

// What Open found and did.
type (
	OpenReport    = engine.OpenReport
	PageCheck     = engine.PageCheck
	JournalReplay = engine.JournalReplay
)

// OpenReport tells what Open found and did. Of a database that is not in a file
// it says only that it is clean; of an [Options.Engine] it is the engine's own
// report, if its OpenReport method gives one, as that of [OpenEngine] does.
func (db *DB) OpenReport() OpenReport { return db.report }
