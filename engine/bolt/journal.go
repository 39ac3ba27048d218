package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/bolt/internal/journal"
	"github.com/liap-tui/savepoint/engine/bolt/internal/pagecheck"
	"github.com/liap-tui/savepoint/internal/format"
)

// journalWriter is the journal ring of a file that is open for writing. A group is
// durable once it is in the ring; folding stores many groups in the buckets with
// one transaction. What holds at all times, with the rules of the design:
//
//  1. The buckets hold every group up to folded, and nothing newer (R4); folded
//     is changed by the transactions that store groups, and by no other.
//  2. overlay has every acknowledged group beyond folded. A group enters it after
//     it is durable, and leaves it after the transaction that folds it is (R10).
//  3. Whoever begins a write transaction holds folding.
//  4. Each write transaction finds the ring's page where it was at open, or
//     writing ends and nothing is written (R5).
//  5. An error of the ring or of a fold ends both (R6).
//  6. counters of the engine are those after the newest group; those in the
//     file are those at folded.
//
// Lock order: engine.writing, folding, engine.open, overlay.mu.
type journalWriter struct {
	e       *Engine
	journal atomic.Pointer[journal.Journal]
	file    journalFile
	place   journalState // of folding; changed when the ring grows, and then of writing, too

	payload []byte           // of the group; of writing
	group   journal.Group    // the same as it is written; of writing
	chunk   []byte           // room for the payloads kept in the overlay; of writing
	cuts    []writeSpan      // of writing
	write   format.StepWrite // of writing
	heads   headCache        // of writing

	checkpointing   sync.Mutex
	checkpoint      batch        // of folding
	checkpoints     time.Time    // when the last fold began; of folding
	maxSize         int64        // how large it may become; of writing
	checkpointBytes atomic.Int64 // see checkpointDue
	targetSize      atomic.Int64 // the size it should have; 0 = as it is

	wake  chan struct{}
	quit  chan struct{}
	ended chan struct{}
	once  sync.Once
}

// journalFile is the descriptor the ring is written through.
type journalFile interface {
	journal.File
	io.Closer
}

func openJournalFile(path string, same os.FileInfo) (journalFile, error) {
	return journal.OpenHandle(path, same)
}

const journalStateLen = 16

// journalState is what an opened file says about its ring.
type journalState struct {
	id           journal.ID
	there        bool
	root         uint64
	checkpointed uint64
	salt         journal.Salt
	lost         error // why its state or head had to be begun anew

	place journal.Range
	head  journal.Head
}

// last is folded once the groups are.
func (r *journalState) last(groups []journalEntry) uint64 {
	if n := len(groups); n > 0 {
		return groups[n-1].lsn
	}
	return r.checkpointed
}

// read finds the ring and its state. Where the file was closed the ring holds
// nothing, and a state that is damaged can be begun anew; else nobody can tell
// which of the records in the ring are newer than the buckets.
func (r *journalState) read(tx *txn, clean bool) (err error) {
	r.root, r.there = tx.journalRoot()
	r.checkpointed, r.salt, err = parseJournalState(tx)
	switch {
	case errors.Is(err, format.ErrNewer):
		return fmt.Errorf("%w: the state of the journal: %w", engine.ErrNewer, err)
	case err != nil && r.there && !clean:
		return fmt.Errorf("%w: the state of the journal: %w: the file was not closed, so the journal may hold writes that were acknowledged, "+
			"and without its state they cannot be told from older ones: keep the file and restore a backup", engine.ErrCorrupt, err)
	case err != nil && r.there:
		r.lost = fmt.Errorf("the state of the journal: %w", err)
	}
	return nil
}

// parseJournalState reads folded and the salt, both 0 where there never was a ring.
func parseJournalState(tx *txn) (folded uint64, salt journal.Salt, err error) {
	b := tx.counters.get(countersJournal)
	if b == nil {
		if _, there := tx.journalRoot(); there {
			return 0, salt, errors.New("it is missing")
		}
		return 0, salt, nil
	}
	h, payload, err := format.ParseValue(b, journalStateLen)
	if err != nil {
		return 0, salt, err
	}
	if h.Type != format.TypeJournal || len(payload) != journalStateLen {
		return 0, salt, fmt.Errorf("value is a %s of %d bytes", h.Type, len(payload))
	}
	return binary.BigEndian.Uint64(payload), journal.Salt(payload[8:]), nil
}

// putJournalState stores them: folded 8, salt 8, big-endian.
func putJournalState(tx *txn, folded uint64, salt journal.Salt) error {
	b := append(binary.BigEndian.AppendUint64(nil, folded), salt[:]...)
	return tx.counters.put(countersJournal, format.AppendValue(nil, &format.Header{Type: format.TypeJournal, Raw: uint32(len(b))}, b, nil))
}

// findJournal finds the value that holds the ring by plain reads of its leaf page,
// which has no other key (R3).
func findJournal(f io.ReaderAt, size int64, root uint64, page int64) (journal.Range, error) {
	at, length, err := pagecheck.Single(f, size, page, root, string(journalValue))
	switch {
	case errors.Is(err, pagecheck.ErrDamaged):
		return journal.Range{}, fmt.Errorf("%w: the journal's bucket: %w", engine.ErrCorrupt, err)
	case err != nil:
		return journal.Range{}, fmt.Errorf("the journal's bucket: %w", err)
	}
	return journal.Range{Offset: at, Length: length, Page: max(page, journal.Align)}, nil
}

// locate fills in where the ring is.
func (e *Engine) locate(found *journalState) error {
	info, err := e.file.Stat()
	if err != nil {
		return err
	}
	if found.place, err = findJournal(e.file, info.Size(), found.root, e.handle.pageSize()); err != nil {
		return err
	}
	found.head, err = journal.ReadHead(e.file, found.place)
	return e.journalError(err)
}

// journalError puts the journal's words into the library's.
func (e *Engine) journalError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, journal.ErrNewer):
		return fmt.Errorf("%w: %w", engine.ErrNewer, err)
	case errors.Is(err, journal.ErrCorrupt), errors.Is(err, journal.ErrForeign):
		return fmt.Errorf("%w: %s: %w", engine.ErrCorrupt, e.path, err)
	}
	return err
}

// readJournal is what stands in the ring and not in the buckets, in order. It
// writes nothing.
func (e *Engine) readJournal(found *fileState) ([]journalEntry, error) {
	r := &found.journal
	if !r.there {
		return nil, nil
	}
	err := e.locate(r)
	if err != nil && found.clean && r.place.Length > 0 && errors.Is(err, engine.ErrCorrupt) { // it is the ring's own head
		r.lost, r.head, err = err, journal.Head{}, nil
	}
	if err != nil {
		return nil, err
	}
	if r.lost != nil {
		e.report.JournalReset = true
		e.opt.logger.Warn("the journal is damaged: begun anew, the file was closed and it held nothing", "file", e.path, "error", r.lost)
		return nil, nil
	}
	if found.clean && !e.report.MetaDamaged { // closing folded everything
		return nil, nil
	}
	disk := journal.NewDirectReader(e.file) // where it was written to
	defer disk.Close()
	s, err := journal.Scan(disk, r.place, r.id, r.salt, r.checkpointed)
	if err != nil {
		return nil, e.journalError(err)
	}
	var groups []journalEntry
	for _, rec := range s.Records() {
		payload, err := format.UnpackGroup(rec.Payload, r.head.Segment)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: record %d of the journal: %w", engine.ErrCorrupt, e.path, rec.LSN, err)
		}
		groups = append(groups, journalEntry{rec.LSN, payload})
	}
	return groups, nil
}

// replayReadOnly serves what the ring holds from memory, in a file that is not written.
func (e *Engine) replayReadOnly(groups []journalEntry) error {
	e.machines.Store(int64(e.counters.machines))
	if len(groups) == 0 {
		return nil
	}
	e.memtable = newMemtable()
	machines := e.counters.machines
	e.report.Replay.InMemory, e.report.Replay.Records = true, 0
	for _, g := range groups {
		cuts, born, records, err := splitEntry(g.payload)
		if err != nil {
			return fmt.Errorf("%w: record %d of the journal: %w", engine.ErrCorrupt, g.lsn, err)
		}
		machines += born
		e.report.Replay.Records += int64(records)
		e.memtable.add(g, cuts)
	}
	e.machines.Store(int64(machines))
	if err := e.showVersions(); err != nil {
		return fmt.Errorf("%w: the journal: %w", engine.ErrCorrupt, err)
	}
	e.opt.logger.Warn("the file was not closed: what its journal holds is served from memory", "file", e.path, "groups", len(groups))
	return nil
}

// openJournal begins to write the ring, which is made first, or anew, where there
// is none, or one of another size or place. Everything in it is folded. A file
// whose pages are smaller than the ring's blocks, which no Linux makes by
// itself, has none: nobody knows where bbolt puts its value.
func (e *Engine) openJournal(found *fileState) error {
	f := &found.journal
	if page := e.handle.pageSize(); page < journal.Align {
		e.opt.logger.Warn("the file's pages are too small for a journal: opened without", "file", e.path, "page", page)
		return nil
	}
	if !e.opt.keepsJournal(f) {
		switch err := e.createJournal(f); {
		case errors.Is(err, engine.ErrDiskFull) && f.aligned():
			e.opt.logger.Warn("the disk has no room for another journal: the old one is kept", "file", e.path, "bytes", f.size(), "error", err)
		case errors.Is(err, engine.ErrDiskFull):
			e.opt.logger.Warn("the disk has no room for a journal: opened without", "file", e.path, "error", err)
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
	j, err := journal.Open(file, f.place, f.id, f.salt, f.checkpointed)
	if err != nil {
		return errors.Join(e.journalError(err), file.Close())
	}
	r := &journalWriter{e: e, file: file, place: *f,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), ended: make(chan struct{})}
	r.journal.Store(j)
	r.checkpointBytes.Store(checkpointThreshold(f.size()))
	r.maxSize, r.checkpoints = e.opt.journalMaxBytes, time.Now()
	r.checkpoint.e = e
	e.memtable = newMemtable()
	e.journal = r
	go r.runCheckpointer()
	return nil
}

// checkNotMoved is R5.
func (r *journalWriter) checkNotMoved(tx *txn) error {
	if r == nil {
		return nil
	}
	if root, there := tx.journalRoot(); !there || root != r.place.root {
		err := fmt.Errorf("%w: the journal was at page %d and is at %d: somebody changed its bucket", engine.ErrCorrupt, r.place.root, root)
		r.e.halt(err)
		return err
	}
	return nil
}

// stopJournal ends the ring, if there is one.
func (e *Engine) stopJournal(cause error) {
	if e.journal != nil {
		e.journal.journal.Load().Stop(cause)
	}
}

// close frees the descriptor. Nothing is folded.
func (r *journalWriter) close() {
	r.stopCheckpointer()
	r.journal.Load().Close()
	r.file.Close()
}

var errJournalDiffers = fmt.Errorf("%w: what the journal holds does not follow on what the file holds", engine.ErrDamaged)
