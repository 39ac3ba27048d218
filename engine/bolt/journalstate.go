package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/bolt/internal/journal"
	"github.com/liap-tui/savepoint/engine/bolt/internal/pagecheck"
	"github.com/liap-tui/savepoint/internal/format"
)

// journalState is what an open file says about its journal: where it is and up to
// which LSN it is checkpointed.
type journalState struct {
	id           journal.ID // of the file
	there        bool       // the file has a journal
	root         uint64     // the page that holds it
	checkpointed uint64     // LSN of the newest group in the buckets
	salt         journal.Salt
	lost         error // why its state or its head must be made again; nil if both are good

	place journal.Range
	head  journal.Head
}

// journalStateLen is the length of the stored state: checkpointed LSN 8, salt 8, big-endian.
const journalStateLen = 16

// read finds the journal and its state. In a file that was closed the journal holds
// nothing, and a damaged state can be made again. In any other file it cannot be known
// which of the journal's records are newer than the buckets.
func (s *journalState) read(tx *txn, clean bool) (err error) {
	s.root, s.there = tx.journalRoot()
	s.checkpointed, s.salt, err = parseJournalState(tx)
	switch {
	case errors.Is(err, format.ErrNewer):
		return fmt.Errorf("%w: the state of the journal: %w", engine.ErrNewer, err)
	case err != nil && s.there && !clean:
		return fmt.Errorf("%w: the state of the journal: %w: the file was not closed, so the journal may hold writes that were acknowledged, "+
			"and without its state they cannot be told from older ones: keep the file and restore a backup", engine.ErrCorrupt, err)
	case err != nil && s.there:
		s.lost = fmt.Errorf("the state of the journal: %w", err)
	}
	return nil
}

// parseJournalState returns the checkpointed LSN and the salt, both zero if the file
// never had a journal.
func parseJournalState(tx *txn) (checkpointed uint64, salt journal.Salt, err error) {
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

// putJournalState stores the checkpointed LSN and the salt.
func putJournalState(tx *txn, checkpointed uint64, salt journal.Salt) error {
	b := append(binary.BigEndian.AppendUint64(nil, checkpointed), salt[:]...)
	return tx.counters.put(countersJournal, format.AppendValue(nil, &format.Header{Type: format.TypeJournal, Raw: uint32(len(b))}, b, nil))
}

// checkpointedAfter returns the checkpointed LSN once all entries are stored.
func (s *journalState) checkpointedAfter(entries []journalEntry) uint64 {
	if n := len(entries); n > 0 {
		return entries[n-1].lsn
	}
	return s.checkpointed
}

// findJournal finds the value that holds the journal by plain reads of its leaf
// page, which has no other key (R3).
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

// locate sets place and head of the journal whose page is root.
func (s *journalState) locate(e *Engine) error {
	info, err := e.file.Stat()
	if err != nil {
		return err
	}
	if s.place, err = findJournal(e.file, info.Size(), s.root, e.handle.pageSize()); err != nil {
		return err
	}
	s.head, err = journal.ReadHead(e.file, s.place)
	return journalError(e.path, err)
}

// find sets root, place and head of the journal that the last transaction put.
func (s *journalState) find(e *Engine) error {
	if err := e.view(func(tx *txn) error { s.root, s.there = tx.journalRoot(); return nil }); err != nil {
		return err
	}
	return s.locate(e)
}

// lay makes s a journal of a size that is not in the file yet.
func (s *journalState) lay(e *Engine, size int64) (err error) {
	page := max(e.handle.pageSize(), journal.Align)
	r := journal.Range{Offset: pagecheck.SingleAt(string(journalValue)), Page: page}
	segment, segments := e.opt.segmentSize(size)
	r.Length = page + journal.HeadSize + segment*segments
	s.place, s.salt = r, journal.NewSalt()
	s.head, err = journal.NewHead(r, segment, s.id)
	s.head.Segments = segments
	return err
}

// put replaces the journal of the file, if it has one, by the one that lay made. Its
// value is put once, with all its zeros, and never by bbolt again.
func (s *journalState) put(tx *txn, checkpointed uint64) error {
	if s.there {
		if err := tx.removeJournal(); err != nil {
			return err
		}
	}
	value := make([]byte, s.place.Length)
	s.head.Append(value[:0])
	if err := tx.createJournal(value); err != nil {
		return err
	}
	s.checkpointed = checkpointed
	return putJournalState(tx, checkpointed, s.salt)
}

// aligned reports whether the file has a journal that may be written where it is (R2).
func (s *journalState) aligned() bool {
	return s.there && (s.place.Offset+s.head.Start)%s.place.Page == 0
}

// size returns how many bytes of records the journal holds at most.
func (s *journalState) size() int64 { return s.head.Segment * s.head.Segments }

// journalError makes an error of package journal match the errors of package engine.
func journalError(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, journal.ErrNewer):
		return fmt.Errorf("%w: %w", engine.ErrNewer, err)
	case errors.Is(err, journal.ErrCorrupt), errors.Is(err, journal.ErrForeign):
		return fmt.Errorf("%w: %s: %w", engine.ErrCorrupt, path, err)
	}
	return err
}
