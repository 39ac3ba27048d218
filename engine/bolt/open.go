package bolt

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/bolt/internal/journal"
)

// openWith opens the file at path, and makes it if it does not exist. Its errors
// match engine.ErrLocked, engine.ErrForeign, engine.ErrCorrupt, engine.ErrNewer,
// engine.ErrDiskFull, or those of io/fs.
func openWith(path string, o config) (*Engine, error) {
	e := &Engine{path: path, opt: o.withDefaults()}
	e.loaders.New = func() any { return new(loader) }
	e.batch.init(e)
	e.dictionaries.e = e
	began := time.Now()
	opening := opening{e: e}
	if err := opening.run(); err != nil {
		e.letGo()
		return nil, err
	}
	e.report.Time = time.Since(began)
	e.opt.logger.Info("opened", "file", path, "report", e.report)
	return e, nil
}

// opening opens the file of an engine that is not shared yet.
type opening struct {
	e       *Engine
	found   fileState
	entries []journalEntry // what the journal holds and the buckets do not
}

// run takes the steps of opening. After an error the caller closes what was opened.
func (o *opening) run() error {
	// 1. Make the file if it does not exist, lock it, check its pages, heal its meta page.
	if err := o.openFile(); err != nil {
		return err
	}
	// 2. Open the file with bbolt, on the same descriptor.
	if err := o.openHandle(); err != nil {
		return err
	}
	// 3. Read counters, versions and the state of the journal.
	if err := o.readState(); err != nil {
		return err
	}
	// 4. Read what only the journal holds. Nothing is written yet.
	began := time.Now()
	if err := o.readJournal(); err != nil {
		return err
	}
	// 5. Make it durable in the buckets, before any of it is read and before any new step is taken (R1).
	if err := o.replay(); err != nil {
		return err
	}
	noteReplay(&o.e.report, o.entries, began)
	if o.e.report.ReadOnly != nil {
		return nil
	}
	// 6. Store the index pages that are missing.
	if err := o.repairIndex(); err != nil {
		return err
	}
	// 7. Start to write the journal.
	return o.openJournal()
}

// openFile opens the checked and locked file.
func (o *opening) openFile() (err error) {
	e := o.e
	e.file, err = openFile(e.path, &e.opt, &o.found, &e.report)
	return err
}

// openHandle opens the file with bbolt, on the descriptor that holds the lock.
func (o *opening) openHandle() error {
	e := o.e
	opened := func(string, int, os.FileMode) (*os.File, error) { return e.file, nil }
	return e.broken("open", guarded(func() (err error) {
		e.handle, err = openHandle(e.path, e.opt.readOnly, e.opt.mode, initialMmap, opened)
		return err
	}))
}

// readState reads the stored state of the file.
func (o *opening) readState() error {
	e := o.e
	if err := e.view(o.found.read); err != nil {
		return err
	}
	e.counters = o.found.counters
	e.versions.set(o.found.versions)
	e.report.CountersRebuilt = o.found.lostCounters != nil
	return nil
}

// replay stores what only the journal holds in the buckets. If the file cannot be
// written it is served from memory: in a file opened for reading, and on a full
// disk. A full disk without anything to serve is an error.
func (o *opening) replay() error {
	e := o.e
	if e.opt.readOnly {
		return o.serveFromMemory(fmt.Errorf("%w: %s was opened with ReadOnly", engine.ErrReadOnly, e.path))
	}
	err := o.store()
	switch {
	case errors.Is(err, engine.ErrDamaged):
		return fmt.Errorf("%w: %s: %w: keep the file and restore a backup", engine.ErrCorrupt, e.path, err)
	case errors.Is(err, engine.ErrDiskFull) && len(o.entries) == 0:
		return fmt.Errorf("%w: free space on the disk, or open the file with ReadOnly", err)
	case errors.Is(err, engine.ErrDiskFull):
		e.diskFull = fmt.Errorf("%w: there is no space to store what the journal holds: free space on the disk and open %s again", engine.ErrDiskFull, e.path)
		e.opt.logger.Error("the disk is full: the file can only be read", "file", e.path, "error", err)
		return o.serveFromMemory(e.diskFull)
	}
	return err
}

// store stores, in one transaction, what only the journal holds, and marks the file
// as open.
func (o *opening) store() error {
	e, b := o.e, &o.e.batch
	defer b.end()
	salt := journal.NewSalt()
	err := e.update(func(tx *txn) error {
		// 1. Make the buckets that a file of an older version does not have.
		if err := tx.create(); err != nil {
			return err
		}
		// 2. Repair dictionaries of which one copy is damaged.
		if err := o.repairDictionaries(tx); err != nil {
			return err
		}
		// 3. Take the steps of the journal, and store them.
		if err := o.storeSteps(tx); err != nil {
			return err
		}
		// 4. Store the state of the journal: all of it is checkpointed.
		if o.found.journal.there {
			if err := putJournalState(tx, o.found.journal.checkpointedAfter(o.entries), salt); err != nil {
				return err
			}
		}
		// 5. Mark the file as open.
		return putMark(tx, false, e.opt.version)
	})
	if err != nil {
		return err
	}
	if len(o.entries) > 0 {
		e.opt.logger.Info("stored what the journal held", "file", e.path, "groups", len(o.entries))
	}
	o.found.journal.checkpointed, o.found.journal.salt = o.found.journal.checkpointedAfter(o.entries), salt
	e.counters = b.ledger.counters
	e.machines.Store(int64(e.counters.machines))
	e.versions.set(o.found.versions)
	return nil
}

// repairDictionaries restores damaged copies of dictionaries.
func (o *opening) repairDictionaries(tx *txn) error {
	repaired, err := o.e.dictionaries.repairCopies(tx)
	if err == nil && repaired > 0 {
		o.e.opt.logger.Warn("one of two copies of a dictionary was damaged: repaired", "file", o.e.path, "dictionaries", repaired)
	}
	return err
}

// storeSteps takes the steps of all entries and stores them, and the counters if
// they were lost. Counters that were lost are those of the first entry, if there
// is one.
func (o *opening) storeSteps(tx *txn) (err error) {
	e, b := o.e, &o.e.batch
	counters := o.found.counters
	if lost := o.found.lostCounters; lost != nil {
		e.opt.logger.Warn("the counters of machine numbers and positions are damaged: rebuilt from the heads", "file", e.path, "error", lost)
		if counters, err = recountedFrom(o.entries, counters); err != nil {
			return err
		}
	}
	b.begin(tx, counters)
	if err := b.replay(o.entries); err != nil {
		return err
	}
	e.report.Replay.Records = int64(b.ledger.counters.pos - counters.pos)
	if err := putVersions(tx, o.found.versions); err != nil {
		return err
	}
	if o.found.lostCounters != nil || b.ledger.dirty {
		if err := b.store(); err != nil {
			return err
		}
	}
	o.found.versions, err = readVersions(tx)
	return err
}

// noteReplay reports how much of the journal was replayed since began.
func noteReplay(r *engine.OpenReport, entries []journalEntry, began time.Time) {
	if len(entries) == 0 {
		return
	}
	r.Replay.Groups, r.Replay.Time = int64(len(entries)), time.Since(began)
	for _, entry := range entries {
		r.Replay.Bytes += int64(len(entry.payload))
	}
}
