package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/liap-tui/savepoint/engine"
)

// Engine keeps steps in one bbolt file. It is an engine.Engine with all optional
// abilities: engine.Feeder, engine.Querier, engine.Bucketer and engine.Reporter. Open
// returns it. Without a journal each group of steps is one transaction. With a journal
// each group is written to the journal first, and later one transaction stores many of
// them in the buckets. The rules for calls from several goroutines are those of
// engine.Engine.
type Engine struct {
	// Invariants; those of the journal are at [journalWriter].
	//
	//  1. A caller of bbolt holds open for reading and is guarded; Close holds it
	//     for writing. After a caught panic dead is set and bbolt is never called
	//     again, not even to close.
	//  2. A goroutine that commits steps or sets a note holds writing. One that runs
	//     a write transaction holds writing too or, with a journal,
	//     journalWriter.checkpointing. After an error that leaves a transaction in
	//     doubt, stopped is set before these locks are released.
	//  3. counters is changed under writing, after the commit of what it counts.
	//  4. No callback of a caller runs within a transaction.
	//
	// All exported methods except Buckets are in this file; transaction.go has what
	// they share. The work itself is done by the types in the fields and by loader,
	// headScan and positionCursor.

	path   string
	opt    config
	report engine.OpenReport // does not change after opening

	open   sync.RWMutex
	closed bool
	handle *handle
	file   *os.File // the one that bbolt has: it holds the lock

	// Guarded by writing. With a journal checkpoints use batch as well: then it is
	// guarded by journalWriter.checkpointing.
	writing  sync.Mutex
	batch    batch
	counters fileCounters

	machines     atomic.Int64 // counters.machines, read at any time
	versions     liveVersions
	dictionaries dictionaries

	// Set by opening; nil where the field does not apply.
	journal  *journalWriter // in a file that is written with a journal
	memtable *memtable      // what only the journal holds; with a journal, or where it is served from memory
	diskFull error          // why a file that was opened for writing can only be read

	dead    atomic.Pointer[error]
	stopped atomic.Pointer[error]
	loaders sync.Pool // of *loader
}

var (
	_ engine.Engine  = (*Engine)(nil)
	_ engine.Feeder  = (*Engine)(nil)
	_ engine.Querier = (*Engine)(nil)
)

// Commit makes the steps durable. With a journal that takes one write and one
// sync. Without one it takes a transaction: bbolt writes the changed pages, syncs,
// writes the meta page that leads to them, and syncs again.
//
// The seq of a machine whose head is damaged is that of the newest item that can be
// found, 0 if no item can be found. So a recovery can write a new head.
func (e *Engine) Commit(ctx context.Context, steps []engine.Step, out []engine.Result) error {
	clear(out)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrNothingStored, err)
	}
	if len(steps) != len(out) {
		return fmt.Errorf("%w: %d steps and %d results", engine.ErrNothingStored, len(steps), len(out))
	}
	e.writing.Lock()
	defer e.writing.Unlock()
	if e.journal != nil {
		return e.journal.commit(steps, out)
	}
	return e.commitTransaction(steps, out)
}

// errNoStep ends a transaction that has nothing to store.
var errNoStep = errors.New("every step was refused")

// commitTransaction is Commit without a journal.
func (e *Engine) commitTransaction(steps []engine.Step, out []engine.Result) error {
	b := &e.batch
	defer b.end()
	err := e.update(func(tx *txn) error {
		b.begin(tx, e.counters)
		if !b.takeAll(steps, out) {
			return errNoStep
		}
		return b.store()
	})
	if errors.Is(err, errNoStep) {
		return nil
	}
	if err != nil {
		for i := range out {
			out[i].Pos = nil
		}
		return err
	}
	e.counters = b.ledger.counters
	e.machines.Store(int64(e.counters.machines))
	if b.versions != nil {
		e.versions.set(b.versions)
	}
	return nil
}

// Load reads a machine. A Load that copies at most 4 MiB of compressed values is of
// one moment; a longer one ends with engine.ErrChanged if what it has still to read is
// removed or replaced meanwhile (see [loader]). If the head is damaged, Load delivers the items
// of the machine number that the damaged head shows, if it shows one, and then
// returns the damage.
func (e *Engine) Load(ctx context.Context, machine string, want engine.LoadRange, fn func(engine.Item) error) (engine.Head, error) {
	if err := ctx.Err(); err != nil {
		return engine.Head{}, err
	}
	l := e.loaders.Get().(*loader)
	defer l.free(e)
	return l.load(ctx, e, machine, want, fn)
}

// Scan reads heads in the order of their keys, in rounds: each round is of one
// moment, and fn is called outside of its transaction.
func (e *Engine) Scan(ctx context.Context, prefix, after string, limit int, fn func(machine string, h engine.Head) error) error {
	return newHeadScan(e, prefix, after).run(ctx, limit, fn)
}

// Feed reads all records after a position, page by page. Each page is of one
// moment, and fn is called outside of its transaction.
func (e *Engine) Feed(ctx context.Context, after uint64, fn func(engine.Record) error) (uint64, error) {
	return newFeed(e, after).feed(ctx, fn)
}

// Query reads records in the order of their positions, in one direction, and skips
// the index pages whose summaries say that they have none that match.
func (e *Engine) Query(ctx context.Context, q engine.Query, fn func(engine.Record) error) error {
	if q.After == engine.All {
		return ctx.Err()
	}
	return newQuery(e, q).query(ctx, fn)
}

// Note reads a note.
func (e *Engine) Note(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var value []byte
	err := e.view(func(tx *txn) error {
		b := tx.meta.get(noteKey(name))
		if b == nil {
			return nil
		}
		payload, err := parseNote(b, name, e.opt.maxValue())
		value = append([]byte{}, payload...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return value, nil
}

// SetNote stores a note in a transaction of its own.
func (e *Engine) SetNote(ctx context.Context, name string, value []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrNothingStored, err)
	}
	if len(name) > maxKey || len(value) > e.opt.maxStep {
		return fmt.Errorf("%w: %w: note of %d bytes under a name of %d", engine.ErrNothingStored, engine.ErrTooLarge, len(value), len(name))
	}
	e.writing.Lock()
	defer e.writing.Unlock()
	if e.journal != nil { // a checkpoint under way ends first
		e.journal.checkpointing.Lock()
		defer e.journal.checkpointing.Unlock()
	}
	return e.update(func(tx *txn) error {
		if value == nil {
			return tx.meta.remove(noteKey(name))
		}
		return tx.meta.put(noteKey(name), appendNote(nil, name, value))
	})
}

// Limits returns the limits that the options set.
func (e *Engine) Limits() engine.Limits {
	return engine.Limits{AtomicAcross: true, MaxStep: e.opt.maxStep}
}

// Size returns the length of the file and the number of machines. The file grows by
// a quarter of itself at a time and never shrinks.
func (e *Engine) Size(ctx context.Context) (engine.Size, error) {
	if err := ctx.Err(); err != nil {
		return engine.Size{}, err
	}
	e.open.RLock()
	defer e.open.RUnlock()
	if err := e.usable(); err != nil {
		return engine.Size{}, err
	}
	info, err := e.file.Stat()
	if err != nil {
		return engine.Size{}, err
	}
	return engine.Size{FileBytes: info.Size(), Machines: e.machines.Load()}, nil
}

// Versions returns how many machines of a kind there are per schema version.
func (e *Engine) Versions(ctx context.Context, kind uint32) (map[uint64]int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e.open.RLock()
	defer e.open.RUnlock()
	if err := e.usable(); err != nil {
		return nil, err
	}
	return e.versions.of(kind), nil
}

// OpenReport returns what opening the file found and did.
func (e *Engine) OpenReport() engine.OpenReport { return e.report }

// Close stores what only the journal holds and marks the file as closed, unless
// writing has ended, and releases the file. It waits for calls that are in bbolt.
func (e *Engine) Close() error {
	e.writing.Lock()
	defer e.writing.Unlock()
	if e.journal != nil {
		e.journal.checkpointer.stop()
	}
	err := e.markClosed()
	e.open.Lock()
	defer e.open.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	return errors.Join(err, e.letGo())
}

// markClosed stores what only the journal holds, and the mark of a closed file, in
// one transaction. It does nothing if the file cannot be written.
func (e *Engine) markClosed() (err error) {
	if e.opt.readOnly || e.writableErr() != nil {
		return nil
	}
	mark := func(tx *txn) error { return putMark(tx, true, e.opt.version) }
	if e.journal != nil {
		err = e.journal.checkpoint(mark)
	} else {
		err = e.update(mark)
	}
	if err != nil {
		return fmt.Errorf("mark %s as closed: %w", e.path, err)
	}
	return nil
}
