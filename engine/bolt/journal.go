package bolt

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/bolt/internal/journal"
)

// journalWriter is the journal of a file that is open for writing. A group is
// durable once it is in the journal; a checkpoint stores many groups in the
// buckets with one transaction. What holds at all times, with the rules of the
// design:
//
//  1. The buckets hold every group up to the checkpointed LSN, and nothing newer
//     (R4). The LSN is changed by the transactions that store groups, and by no
//     other.
//  2. The memtable holds every acknowledged group after the checkpointed LSN. A
//     group enters it after it is durable, and leaves it after the transaction of
//     its checkpoint is durable (R10).
//  3. Whoever starts a write transaction holds checkpointing.
//  4. Each write transaction finds the journal's page where it was at open.
//     Otherwise writing ends and nothing is written (R5).
//  5. An error of the journal or of a checkpoint ends both (R6).
//  6. Engine.counters are those after the newest group; those in the file are
//     those at the checkpointed LSN.
//
// Lock order: Engine.writing, checkpointing, Engine.open, memtable.mu.
type journalWriter struct {
	e       *Engine
	file    journalFile                     // what journal writes through
	journal atomic.Pointer[journal.Journal] // replaced when the journal grows

	// Guarded by Engine.writing: the state of the goroutine that commits.
	ledger ledger
	record journalRecord
	heads  headCache

	// Changed only while both Engine.writing and checkpointing are held; holding one of
	// them is enough to read it.
	place   journalState
	maxSize int64 // the size up to which the journal may grow

	// Held during each write transaction (3). It also guards Engine.batch.
	checkpointing  sync.Mutex
	lastCheckpoint time.Time // when the last checkpoint started

	// Set by checkpoints and by switchTo, read at any time.
	checkpointBytes atomic.Int64 // bytes in the active generation that make a checkpoint due
	targetSize      atomic.Int64 // the size the journal should get with the next group; 0 = as it is

	checkpointer checkpointer
}

// journalFile is the descriptor that the journal is written through.
type journalFile interface {
	journal.File
	io.Closer
}

func openJournalFile(path string, same os.FileInfo) (journalFile, error) {
	return journal.OpenHandle(path, same)
}

// newJournalWriter starts to write the opened journal j, which is at place, through
// file. Everything in it is checkpointed.
func newJournalWriter(e *Engine, file journalFile, place *journalState, j *journal.Journal) *journalWriter {
	w := &journalWriter{e: e, file: file, place: *place, maxSize: e.opt.journalMaxBytes, lastCheckpoint: time.Now()}
	w.ledger.opt, w.ledger.path = &e.opt, e.path
	w.journal.Store(j)
	w.checkpointBytes.Store(checkpointThreshold(place.size()))
	w.checkpointer.init()
	return w
}

// checkNotMoved is rule R5: it ends writing if bbolt has moved the journal.
func (j *journalWriter) checkNotMoved(tx *txn) error {
	if root, there := tx.journalRoot(); !there || root != j.place.root {
		err := fmt.Errorf("%w: the journal was at page %d and is at %d: another program changed its bucket", engine.ErrCorrupt, j.place.root, root)
		j.e.halt(err)
		return err
	}
	return nil
}

// close ends the checkpointer and frees the descriptor. It makes no checkpoint.
func (j *journalWriter) close() {
	j.checkpointer.stop()
	j.journal.Load().Close()
	j.file.Close()
}

// grows reports whether the journal may become larger.
func (j *journalWriter) grows() bool { return j.place.size() < j.maxSize }

// larger returns the journal that replaces this one when it grows.
func (j *journalWriter) larger() (*journalState, error) {
	next := j.place
	size := min(max(j.place.size()*journalGrowth, j.targetSize.Load()), j.maxSize)
	return &next, next.lay(j.e, size)
}

// switchTo makes next, which the last transaction put into the file, the journal
// that is written. Everything in the old one is checkpointed. The caller holds
// Engine.writing and checkpointing.
func (j *journalWriter) switchTo(next *journalState) error {
	if err := next.find(j.e); err != nil {
		return err
	}
	opened, err := journal.Open(j.file, next.place, next.id, next.salt, next.checkpointed)
	if err != nil {
		return journalError(j.e.path, err)
	}
	j.place = *next
	j.checkpointBytes.Store(checkpointThreshold(next.size()))
	j.journal.Swap(opened).Close()
	if stopped := j.e.stopped.Load(); stopped != nil { // only the old journal was stopped
		return *stopped
	}
	j.e.opt.logger.Info("the journal is larger now", "file", j.e.path, "bytes", next.size())
	return nil
}

// measure returns the size that the journal should have if checkpoints follow each
// other too soon, 0 if the size is right. It is called when a checkpoint starts.
func (j *journalWriter) measure() int64 {
	now := time.Now()
	apart := max(now.Sub(j.lastCheckpoint), time.Millisecond)
	j.lastCheckpoint = now
	if apart < checkpointsApart && j.grows() {
		return j.place.size() * int64(checkpointsApart/apart)
	}
	return 0
}
