// Package bolt keeps machines in one bbolt file, with a write-ahead journal inside it.
package bolt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
)

// config say how a file is opened.
type config struct {
	readOnly        bool
	lockTimeout     time.Duration // how long to wait for a file in use; 0 = 1 s
	noCompression   bool
	mode            os.FileMode  // of a new file; 0 = 0600
	version         string       // of the library, kept in the file
	logger          *slog.Logger // nil = silent
	maxStep         int          // 0 = maxStep
	readBytes       int          // most stored bytes that a Load or Scan copies out per transaction; 0 = defaultReadBytes
	gathered        int          // most places of records that are gathered from the events at once; 0 = rebuildEntries
	journalBytes    int64        // of the journal ring; 0 = direct: no ring, each group is one transaction
	journalMaxBytes int64        // how large it may grow; 0 = not at all
	journalSegment  int64        // bytes of a segment of it; 0 = an eighth of the ring
	wholeCheck      int64        // 0 = wholeCheck
	dictionaryDue   int          // snapshots of a kind before its first dictionary; 0 = firstDue
	seams           seams
}

// seams are the places where a test injects faults; nil is the real thing.
type seams struct {
	openFile    func(name string, flag int, mode os.FileMode) (*os.File, error)
	commit      func(tx *txn) error
	read        func() // called in each read transaction, under the guard
	write       func() // called in each write transaction, under the guard
	syncFile    func(f *os.File) error
	readDisk    func(f *os.File, at int64, b []byte) error
	rename      func(from, to string) error
	journalFile func(path string, same os.FileInfo) (journalFile, error)
}

const (
	maxStep          = 256 << 20
	maxKey           = 1024
	defaultReadBytes = 4 << 20
	rebuildEntries   = 16 * format.MaxPageEntries
	// valueSlack is what a stored payload may have beyond a step's bytes: the
	// numbers of a block or a head.
	valueSlack = 1 << 10
)

// maxValue returns the length of the longest stored payload.
func (o *config) maxValue() int { return o.maxStep + valueSlack }

// withDefaults fills what is zero.
func (o config) withDefaults() config {
	orDefault(&o.lockTimeout, time.Second)
	orDefault(&o.mode, 0o600)
	orDefault(&o.maxStep, maxStep)
	orDefault(&o.readBytes, defaultReadBytes)
	orDefault(&o.gathered, rebuildEntries)
	orDefault(&o.wholeCheck, wholeCheck)
	orDefault(&o.dictionaryDue, firstDue)
	if o.logger == nil {
		o.logger = slog.New(slog.DiscardHandler)
	}
	s := &o.seams
	if s.openFile == nil {
		s.openFile = os.OpenFile
	}
	if s.commit == nil {
		s.commit = (*txn).commit
	}
	if s.read == nil {
		s.read = func() {}
	}
	if s.write == nil {
		s.write = func() {}
	}
	if s.syncFile == nil {
		s.syncFile = (*os.File).Sync
	}
	if s.readDisk == nil {
		s.readDisk = readDisk
	}
	if s.rename == nil {
		s.rename = os.Rename
	}
	if s.journalFile == nil {
		s.journalFile = openJournalFile
	}
	return o
}

// Engine keeps steps in one bbolt file: each group in one transaction, or,
// with a ring, each group in the ring first and many of them in one transaction
// later ([journalWriter] has the invariants of that).
//
//  1. Whoever calls bbolt holds open for reading and is guarded; Close holds it
//     for writing. After a caught panic dead is set and bbolt is never called
//     again, not even to close.
//  2. Whoever writes holds writing. After an error that leaves a transaction in
//     doubt, stopped is set before writing is free again.
//  3. counters is changed under writing, after the commit of what it counts.
//  4. No callback of a caller runs within a transaction.
type Engine struct {
	path   string
	opt    config
	report engine.OpenReport // does not change after opening

	open   sync.RWMutex
	closed bool
	handle *handle
	file   *os.File // the one bbolt has: it holds the lock

	writing  sync.Mutex
	group    batch
	counters fileCounters
	machines atomic.Int64
	versions liveVersions

	dictionaries dictionaries

	journal  *journalWriter // nil in direct mode and in a file opened for reading
	diskFull error          // why the file can only be read though it was opened for writing
	memtable *memtable      // what is in the ring only; nil where there is no ring to look into

	dead    atomic.Pointer[error]
	stopped atomic.Pointer[error]
	loaders sync.Pool // of *loader
}

var _ engine.Engine = (*Engine)(nil)

// die records that bbolt panicked and answers what every call gets from now on.
func (e *Engine) die(doing string, cause error) error {
	err := fmt.Errorf("%w: %s %s: %w: close it and check the file", engine.ErrCorrupt, doing, e.path, cause)
	if e.dead.CompareAndSwap(nil, &err) {
		e.opt.logger.Error("the file is damaged, or its disk: no more reads and writes", "file", e.path, "while", doing, "error", cause)
	}
	e.stopJournal(*e.dead.Load())
	return *e.dead.Load()
}

// broken turns a panic into the death of the handle and wraps what bbolt says.
func (e *Engine) broken(doing string, err error) error {
	if err == nil {
		return nil
	}
	if _, panicked := errors.AsType[*panicError](err); panicked {
		return e.die(doing, err)
	}
	if e.handle == nil { // bbolt's own words while opening
		return fmt.Errorf("%w: %s: %w", engine.ErrCorrupt, e.path, err)
	}
	return err
}

// usable is why nothing may be read, or nil. The caller holds open.
func (e *Engine) usable() error {
	if e.closed {
		return engine.ErrClosed
	}
	if dead := e.dead.Load(); dead != nil {
		return *dead
	}
	return nil
}

// view runs fn in a read transaction. fn copies what it needs and calls no
// caller's code, so that the transaction is short.
func (e *Engine) view(fn func(tx *txn) error) error {
	e.open.RLock()
	defer e.open.RUnlock()
	if err := e.usable(); err != nil {
		return err
	}
	return e.broken("read", guarded(func() error {
		tx, err := e.handle.begin(false)
		if err != nil {
			return err
		}
		e.opt.seams.read()
		err = fn(tx)
		return errors.Join(err, tx.rollback())
	}))
}

// update runs fn in a write transaction and commits it. An error matches
// ErrNothingStored, or ErrInDoubt; after the second kind nothing is written any
// more. The caller holds writing, or is the only one that knows e.
func (e *Engine) update(fn func(tx *txn) error) error {
	e.open.RLock()
	defer e.open.RUnlock()
	if err := e.writable(); err != nil {
		return err
	}
	committing, id := false, uint64(0)
	err := e.broken("write", guarded(func() error {
		tx, err := e.handle.begin(true)
		if err != nil {
			return err
		}
		e.opt.seams.write()
		id = tx.id()
		err = e.journal.checkNotMoved(tx)
		if err == nil {
			err = fn(tx)
		}
		if err != nil {
			return errors.Join(err, tx.rollback())
		}
		committing = true
		return e.opt.seams.commit(tx)
	}))
	switch {
	case err == nil:
		return nil
	case !committing:
		return fmt.Errorf("%w: %w", engine.ErrNothingStored, err)
	}
	err = classifyCommitError(err, func() bool { return e.dead.Load() == nil && metaUntouched(e.file, id) })
	if !errors.Is(err, engine.ErrNothingStored) {
		e.halt(err)
	}
	return err
}

// halt ends all writing for good, the ring's too (R6).
func (e *Engine) halt(err error) {
	if e.stopped.CompareAndSwap(nil, &err) {
		e.opt.logger.Error("a commit failed: no more writes until the file is opened again", "file", e.path, "error", err)
	}
	e.stopJournal(err)
}

// writable is why nothing may be written, or nil; each reason matches
// ErrNothingStored, for what was refused is surely not stored.
func (e *Engine) writable() error {
	err := e.usable()
	if err == nil && e.opt.readOnly {
		err = fmt.Errorf("%w: %s", engine.ErrReadOnly, e.path)
	}
	if err == nil && e.diskFull != nil {
		err = e.diskFull
	}
	if stopped := e.stopped.Load(); err == nil && stopped != nil {
		err = fmt.Errorf("%w: %w", engine.ErrStopped, opaqueError{*stopped})
	}
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrNothingStored, err)
	}
	return nil
}

// opaqueError tells an earlier error without matching what it matches: the
// write refused now is not in doubt.
type opaqueError struct{ cause error }

func (e opaqueError) Error() string { return e.cause.Error() }

// Commit makes the steps durable: in the ring with one write and one sync, or in
// one transaction, where bbolt writes the changed pages, syncs, writes the meta
// page that leads to them, and syncs again.
//
// A head that is damaged counts as being at the seq of the newest item that can
// still be found, 0 if none: so a recovery can write a new one.
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
		return e.commitJournal(steps, out)
	}
	g := &e.group
	g.begin(e.counters)
	defer g.end()
	err := e.update(func(tx *txn) error {
		g.tx = tx
		for i := range steps {
			if out[i].Err = g.take(&steps[i]); out[i].Err == nil {
				out[i].Pos = g.positions(&steps[i])
			}
		}
		if !g.dirty {
			return errNoStep
		}
		return g.store()
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
	e.counters = g.counters
	e.machines.Store(int64(e.counters.machines))
	if g.versions != nil {
		e.versions.set(g.versions)
	}
	return nil
}

// errNoStep ends a transaction that has nothing to store.
var errNoStep = errors.New("every step was refused")

// Note reads a note.
func (e *Engine) Note(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var value []byte
	err := e.view(func(tx *txn) error {
		b := tx.meta.get([]byte(metaNote + name))
		if b == nil {
			return nil
		}
		payload, err := parseNote(b, name, e.opt.maxStep+valueSlack)
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
	if e.journal != nil { // a fold under way ends first
		e.journal.checkpointing.Lock()
		defer e.journal.checkpointing.Unlock()
	}
	return e.update(func(tx *txn) error {
		key := []byte(metaNote + name)
		if value == nil {
			return tx.meta.remove(key)
		}
		return tx.meta.put(key, appendNote(nil, name, value))
	})
}

// Limits are those of the options.
func (e *Engine) Limits() engine.Limits {
	return engine.Limits{AtomicAcross: true, MaxStep: e.opt.maxStep}
}

// Size is the length of the file, which grows by a quarter of itself at a time
// and never shrinks, and the number of machines.
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

// Close stores what the ring holds and marks the file as closed cleanly, unless
// writing has stopped, and frees it. It waits for calls that are in bbolt.
func (e *Engine) Close() error {
	e.writing.Lock()
	defer e.writing.Unlock()
	var err error
	e.journal.stopCheckpointer()
	if !e.opt.readOnly && e.writableNow() {
		err = e.checkpoint(func(tx *txn) error { return putMark(tx, true, e.opt.version) })
		if err != nil {
			err = fmt.Errorf("mark %s as closed: %w", e.path, err)
		}
	}
	e.open.Lock()
	defer e.open.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	return errors.Join(err, e.letGo())
}

func (e *Engine) writableNow() bool { return e.writableErr() == nil }

func (e *Engine) writableErr() error {
	e.open.RLock()
	defer e.open.RUnlock()
	return e.writable()
}

// appendBoltNote adds the stored note; its payload begins with the CRC-32C of
// its name.
func appendNote(dst []byte, name string, value []byte) []byte {
	sum := keySum([]byte(name))
	part := []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}
	return format.AppendValue(dst, &format.Header{Type: format.TypeNote, Raw: uint32(len(part) + len(value))}, part, value)
}

func parseNote(b []byte, name string, limit int) ([]byte, error) {
	h, payload, err := format.ParseValue(b, limit)
	switch sum := keySum([]byte(name)); {
	case errors.Is(err, format.ErrNewer):
		return nil, fmt.Errorf("%w: note %q: %w", engine.ErrNewer, name, err)
	case err != nil:
		return nil, fmt.Errorf("%w: note %q: %w", engine.ErrCorrupt, name, err)
	case h.Type != format.TypeNote || len(payload) < 4:
		return nil, fmt.Errorf("%w: note %q is a %s of %d bytes", engine.ErrCorrupt, name, h.Type, len(payload))
	case payload[0] != byte(sum>>24) || payload[1] != byte(sum>>16) || payload[2] != byte(sum>>8) || payload[3] != byte(sum):
		return nil, fmt.Errorf("%w: note %q is another one", engine.ErrCorrupt, name)
	}
	return payload[4:], nil
}

// orDefault sets a zero field to its default.
func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
