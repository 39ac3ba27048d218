package bolt

import (
	"errors"
	"fmt"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/bolt/internal/journal"
	"github.com/liap-tui/savepoint/internal/format"
)

// readJournal sets o.entries to what the journal holds and the buckets do not, in
// order. It writes nothing.
func (o *opening) readJournal() error {
	e, s := o.e, &o.found.journal
	if !s.there {
		return nil
	}
	if err := s.locate(e); err != nil {
		headOnly := s.place.Length > 0 && errors.Is(err, engine.ErrCorrupt)
		if !o.found.clean || !headOnly {
			return err
		}
		s.lost, s.head = err, journal.Head{}
	}
	if s.lost != nil {
		e.report.JournalReset = true
		e.opt.logger.Warn("the journal is damaged: it is replaced, because the file was closed and the journal was empty", "file", e.path, "error", s.lost)
		return nil
	}
	if o.found.clean && !e.report.MetaDamaged { // Close has checkpointed everything
		return nil
	}
	disk := journal.NewDirectReader(e.file) // it reads what the disk has, as the journal was written to the disk
	defer disk.Close()
	scanned, err := journal.Scan(disk, s.place, s.id, s.salt, s.checkpointed)
	if err != nil {
		return journalError(e.path, err)
	}
	for _, rec := range scanned.Records() {
		payload, err := format.UnpackGroup(rec.Payload, s.head.Segment)
		if err != nil {
			return fmt.Errorf("%w: %s: record %d of the journal: %w", engine.ErrCorrupt, e.path, rec.LSN, err)
		}
		o.entries = append(o.entries, journalEntry{rec.LSN, payload})
	}
	return nil
}

// serveFromMemory opens a file that cannot be written, because of reason: what only
// the journal holds goes into a memtable, from which it is read.
func (o *opening) serveFromMemory(reason error) error {
	e := o.e
	e.report.ReadOnly = reason
	e.machines.Store(int64(e.counters.machines))
	if len(o.entries) == 0 {
		return nil
	}
	e.memtable = newMemtable()
	machines := e.counters.machines
	e.report.Replay.InMemory, e.report.Replay.Records = true, 0
	for _, entry := range o.entries {
		spans, born, records, err := splitEntry(entry.payload)
		if err != nil {
			return fmt.Errorf("%w: record %d of the journal: %w", engine.ErrCorrupt, entry.lsn, err)
		}
		machines += born
		e.report.Replay.Records += int64(records)
		e.memtable.add(entry, spans)
	}
	e.machines.Store(int64(machines))
	if err := e.versions.addMemtable(e); err != nil {
		return fmt.Errorf("%w: the journal: %w", engine.ErrCorrupt, err)
	}
	e.opt.logger.Warn("the file was not closed: what its journal holds is served from memory", "file", e.path, "groups", len(o.entries))
	return nil
}

// openJournal starts to write the journal. It first makes one if the file has none,
// or one of another size or place. Everything in the journal is checkpointed. It
// opens the file without a journal if the option says so, if the disk has no space
// for one, and if the file's pages are smaller than the journal's blocks: then the
// place where bbolt puts the journal's value is not known. No Linux makes such
// pages by itself.
func (o *opening) openJournal() error {
	e, s := o.e, &o.found.journal
	if e.opt.journalBytes == 0 {
		return nil
	}
	if page := e.handle.pageSize(); page < journal.Align {
		e.opt.logger.Warn("the file's pages are too small for a journal: opened without one", "file", e.path, "page", page)
		return nil
	}
	if !e.opt.keepsJournal(s) {
		switch err := o.createJournal(); {
		case errors.Is(err, engine.ErrDiskFull) && s.aligned():
			e.opt.logger.Warn("the disk has no space for another journal: the old one is kept", "file", e.path, "bytes", s.size(), "error", err)
		case errors.Is(err, engine.ErrDiskFull):
			e.opt.logger.Warn("the disk has no space for a journal: opened without one", "file", e.path, "error", err)
			return nil
		case err != nil:
			return fmt.Errorf("make the journal of %s: %w", e.path, err)
		}
	}
	info, err := e.file.Stat()
	if err != nil {
		return err
	}
	file, err := e.opt.seams.journalFile(e.path, info)
	if err != nil {
		return err
	}
	opened, err := journal.Open(file, s.place, s.id, s.salt, s.checkpointed)
	if err != nil {
		return errors.Join(journalError(e.path, err), file.Close())
	}
	e.memtable = newMemtable()
	e.journal = newJournalWriter(e, file, s, opened)
	go e.journal.checkpointer.run(e.journal)
	return nil
}

// createJournal puts a new journal into the file, in place of the old one if there
// is one, which is checkpointed.
func (o *opening) createJournal() error {
	e, s := o.e, &o.found.journal
	next := *s
	if err := next.lay(e, e.opt.journalBytes); err != nil {
		return err
	}
	if err := e.update(func(tx *txn) error { return next.put(tx, s.checkpointed) }); err != nil {
		return err
	}
	*s = next
	return s.find(e)
}
