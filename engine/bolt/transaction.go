package bolt

import (
	"errors"
	"fmt"
	"os"

	"github.com/liap-tui/savepoint/engine"
)

// view runs fn in a read transaction. fn copies what it needs and calls no code of
// a caller, so that the transaction is short.
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

// update runs fn in a write transaction and commits it. Its errors match
// ErrNothingStored or ErrInDoubt; after the second kind writing has ended for
// good. The caller holds Engine.writing or, with a journal,
// journalWriter.checkpointing, unless the engine is not shared yet.
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
		if e.journal != nil {
			err = e.journal.checkNotMoved(tx)
		}
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

// usable returns the error of every read, nil while the file can be read. The caller
// holds open.
func (e *Engine) usable() error {
	if e.closed {
		return engine.ErrClosed
	}
	if dead := e.dead.Load(); dead != nil {
		return *dead
	}
	return nil
}

// writable returns the error of every write, nil while the file can be written. It
// matches ErrNothingStored, because what is refused is surely not stored. The caller
// holds open.
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

// writableErr is writable for a caller that does not hold open.
func (e *Engine) writableErr() error {
	e.open.RLock()
	defer e.open.RUnlock()
	return e.writable()
}

// opaqueError has the text of an earlier error and does not match what that error
// matches: the write that is refused now is not in doubt.
type opaqueError struct{ cause error }

func (e opaqueError) Error() string { return e.cause.Error() }

// die records that bbolt panicked, and returns the error of all calls from now on.
func (e *Engine) die(doing string, cause error) error {
	err := fmt.Errorf("%w: %s %s: %w: close it and check the file", engine.ErrCorrupt, doing, e.path, cause)
	if e.dead.CompareAndSwap(nil, &err) {
		e.opt.logger.Error("the file is damaged, or its disk: no more reads and writes", "file", e.path, "while", doing, "error", cause)
	}
	e.stopJournal(*e.dead.Load())
	return *e.dead.Load()
}

// broken returns what an error of guarded means: after a panic the handle is dead.
func (e *Engine) broken(doing string, err error) error {
	if err == nil {
		return nil
	}
	if _, panicked := errors.AsType[*panicError](err); panicked {
		return e.die(doing, err)
	}
	if e.handle == nil { // bbolt could not open the file
		return fmt.Errorf("%w: %s: %w", engine.ErrCorrupt, e.path, err)
	}
	return err
}

// halt ends all writing for good, that of the journal as well (R6).
func (e *Engine) halt(err error) {
	if e.stopped.CompareAndSwap(nil, &err) {
		e.opt.logger.Error("a commit failed: no more writes until the file is opened again", "file", e.path, "error", err)
	}
	e.stopJournal(err)
}

// stopJournal ends the journal, if there is one.
func (e *Engine) stopJournal(cause error) {
	if e.journal != nil {
		e.journal.journal.Load().Stop(cause)
	}
}

// letGo closes what opening opened. The lock and the file of a dead handle are
// released without bbolt.
func (e *Engine) letGo() error {
	if e.journal != nil {
		e.journal.close()
	}
	if e.handle != nil && e.dead.Load() == nil {
		err := guarded(e.handle.close)
		if _, panicked := errors.AsType[*panicError](err); !panicked {
			return err
		}
		e.die("close", err)
	}
	if e.file == nil {
		return nil
	}
	unlockFile(e.file)
	if err := e.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
