package bolt

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/bolt/internal/journal"
)

// openWith opens the file at path, or makes it. Its errors match engine.ErrLocked,
// engine.ErrForeign, engine.ErrCorrupt, engine.ErrNewer, engine.ErrDiskFull, or those of io/fs.
func openWith(path string, o config) (*Engine, error) {
	e := &Engine{path: path, opt: o.withDefaults()}
	e.loaders.New = func() any { return new(loader) }
	e.group.e = e
	began := time.Now()
	if err := e.start(); err != nil {
		e.letGo()
		return nil, err
	}
	e.report.Time = time.Since(began)
	e.opt.logger.Info("opened", "file", path, "report", e.report)
	return e, nil
}

// start opens the file, checked and healed, gives it to bbolt, takes over what
// the ring holds and marks the file as open.
func (e *Engine) start() error {
	var found fileState
	f, err := openFile(e.path, &e.opt, &found, &e.report)
	if err != nil {
		return err
	}
	e.file = f
	err = guarded(func() (err error) {
		e.handle, err = openHandle(e.path, e.opt.readOnly, e.opt.mode, initialMmap, func(string, int, os.FileMode) (*os.File, error) { return f, nil })
		return err
	})
	if err != nil {
		return e.broken("open", err)
	}
	if err := e.view(func(tx *txn) error { return found.read(tx) }); err != nil {
		return err
	}
	e.counters = found.counters
	e.versions.set(found.versions)
	began := time.Now()
	unfolded, err := e.readJournal(&found)
	if err != nil {
		return err
	}
	e.report.CountersRebuilt = found.lostCounters != nil
	if e.opt.readOnly {
		e.report.ReadOnly = fmt.Errorf("%w: %s was opened so", engine.ErrReadOnly, e.path)
		err = e.replayReadOnly(unfolded)
	} else {
		err = e.replayJournal(&found, unfolded)
	}
	if errors.Is(err, engine.ErrDamaged) {
		err = fmt.Errorf("%w: %s: %w: keep the file and restore a backup", engine.ErrCorrupt, e.path, err)
	}
	if errors.Is(err, engine.ErrDiskFull) {
		if len(unfolded) == 0 {
			return fmt.Errorf("%w: make room, or open it with ReadOnly", err)
		}
		full := fmt.Errorf("%w: there is no room to store what the journal holds: make room and open %s again", engine.ErrDiskFull, e.path)
		e.diskFull, e.report.ReadOnly = full, full
		e.opt.logger.Error("the disk is full: the file can only be read", "file", e.path, "error", err)
		err = e.replayReadOnly(unfolded)
	}
	noteReplay(&e.report, unfolded, began)
	if err == nil && e.report.ReadOnly == nil {
		e.machines.Store(int64(e.counters.machines))
		err = e.repairPositions()
		if err == nil && e.opt.journalBytes > 0 {
			err = e.openJournal(&found)
		}
	}
	return err
}

// replayJournal stores, in one transaction, what the ring holds, and marks the file as
// open. Nothing that was replayed is shown, and nothing new is taken, before it
// is durable here (R1).
func (e *Engine) replayJournal(found *fileState, unfolded []journalEntry) error {
	g := &e.group
	defer g.end()
	salt := journal.NewSalt()
	err := e.update(func(tx *txn) error {
		if err := tx.create(); err != nil { // what the feed needs, in a file made before it
			return err
		}
		if mended, err := e.dictionaries.repairCopies(tx); err != nil {
			return err
		} else if mended > 0 {
			e.opt.logger.Warn("one of two copies of a dictionary was damaged: put right", "file", e.path, "dictionaries", mended)
		}
		g.begin(found.counters)
		g.tx = tx
		if found.lostCounters != nil {
			e.opt.logger.Warn("the counters of machine numbers and positions are damaged: rebuilt from the heads", "file", e.path, "error", found.lostCounters)
			if err := g.recountMachines(unfolded); err != nil {
				return err
			}
		}
		pos := g.counters.pos
		if err := g.replay(unfolded); err != nil {
			return err
		}
		e.report.Replay.Records = int64(g.counters.pos - pos)
		if err := putVersions(tx, found.versions); err != nil {
			return err
		}
		if found.lostCounters != nil || g.dirty {
			if err := g.store(); err != nil {
				return err
			}
		}
		var err error
		if found.versions, err = readVersions(tx); err != nil {
			return err
		}
		if found.journal.there {
			if err := putJournalState(tx, found.journal.last(unfolded), salt); err != nil {
				return err
			}
		}
		return putMark(tx, false, e.opt.version)
	})
	if err != nil {
		return err
	}
	if len(unfolded) > 0 {
		e.opt.logger.Info("stored what the journal held", "file", e.path, "groups", len(unfolded))
	}
	found.journal.checkpointed, found.journal.salt = found.journal.last(unfolded), salt
	e.counters = g.counters
	e.versions.set(found.versions)
	return nil
}

// letGo closes what start left open, or gives up a dead handle: its lock is
// freed and its file closed without bbolt.
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

// noteReplay notes what stood in the ring and was taken over since began.
func noteReplay(r *engine.OpenReport, groups []journalEntry, began time.Time) {
	if len(groups) == 0 {
		return
	}
	r.Replay.Groups, r.Replay.Time = int64(len(groups)), time.Since(began)
	for _, g := range groups {
		r.Replay.Bytes += int64(len(g.payload))
	}
}

// OpenReport is what opening the engine found and did.
func (e *Engine) OpenReport() engine.OpenReport { return e.report }
