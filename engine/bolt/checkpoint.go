package bolt

import (
	"fmt"
	"sync"
	"time"
)

// checkpointer runs checkpoints in a goroutine of its own.
type checkpointer struct {
	woken chan struct{} // holds one value while a wake has not been noticed
	quit  chan struct{}
	ended chan struct{} // closed when run has returned
	once  sync.Once
}

func (c *checkpointer) init() {
	c.woken, c.quit, c.ended = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
}

// run makes a checkpoint whenever it is woken and one is still due: groups that were
// committed during the last checkpoint woke it as well, and may be too few to be
// worth another. It returns after stop, and when writing has ended for good. After
// any other error, a full disk in practice, it tries again after a pause.
func (c *checkpointer) run(j *journalWriter) {
	defer close(c.ended)
	for {
		select {
		case <-c.quit:
			return
		case <-c.woken:
		}
		if !j.checkpointDue() {
			continue
		}
		err := j.checkpoint(nil)
		if err == nil {
			continue
		}
		if j.e.stopped.Load() != nil || j.e.dead.Load() != nil {
			return
		}
		j.e.opt.logger.Warn("no checkpoint of the journal is possible now", "file", j.e.path, "error", err)
		select {
		case <-c.quit:
			return
		case <-time.After(checkpointPause):
			c.wake()
		}
	}
}

// checkpointPause is the time between two tries to make a checkpoint on a full disk.
const checkpointPause = time.Second

// wake asks for a checkpoint. It does not wait.
func (c *checkpointer) wake() {
	select {
	case c.woken <- struct{}{}:
	default:
	}
}

// stop ends run and waits until a checkpoint that is under way has ended. It may be
// called more than once.
func (c *checkpointer) stop() {
	c.once.Do(func() { close(c.quit) })
	<-c.ended
}

// checkpointThreshold returns how many bytes of groups in the active generation make
// a checkpoint due, for a journal of a size. One checkpoint stores no more than
// that, and so does an opening after a crash.
func checkpointThreshold(size int64) int64 { return size / 4 * 5 }

// checkpointDue reports whether less than a quarter of the journal's segments are
// free beside the one being filled. So checkpoints are large, and there is space
// for what is committed meanwhile. Groups that compress well fill memory before
// they fill the journal: then a checkpoint is due when the memory is full.
func (j *journalWriter) checkpointDue() bool {
	s := j.journal.Load().State()
	active, _ := j.e.memtable.bytes()
	return s.Free < max(1, s.Segments/4) || active >= j.checkpointBytes.Load()
}

// overBudget reports whether the memtable holds so much that the next group waits
// for the checkpoint under way, as it does when the journal is full.
func (j *journalWriter) overBudget() bool {
	_, all := j.e.memtable.bytes()
	return all >= 2*j.checkpointBytes.Load()
}

// awaitCheckpoint waits for the checkpoint that is under way, if there is one.
func (j *journalWriter) awaitCheckpoint() {
	j.checkpointing.Lock()
	defer j.checkpointing.Unlock()
}

// checkpoint stores what only the journal holds in the buckets, in one transaction
// with the LSN of its last group (R11) and with what also puts, if it is not nil.
func (j *journalWriter) checkpoint(also func(tx *txn) error) error {
	j.checkpointing.Lock()
	defer j.checkpointing.Unlock()
	e := j.e
	entries, generations := e.memtable.freeze()
	if len(entries) == 0 && also == nil {
		return nil
	}
	wanted := j.measure()
	defer e.batch.end()
	err := e.update(func(tx *txn) error {
		if len(entries) > 0 {
			if err := j.storeEntries(tx, entries); err != nil {
				return err
			}
		}
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		if stopped := e.stopped.Load(); stopped != nil { // the journal failed meanwhile
			return opaqueError{*stopped}
		}
		return nil
	})
	if err != nil || len(entries) == 0 {
		return err
	}
	if err := j.journal.Load().Checkpointed(entries[len(entries)-1].lsn); err != nil {
		e.halt(err)
		return err
	}
	e.memtable.release(generations)
	j.targetSize.Store(wanted)
	return nil
}

// storeEntries stores all entries in the buckets, and the LSN of the last one.
func (j *journalWriter) storeEntries(tx *txn, entries []journalEntry) error {
	if err := j.replay(tx, entries); err != nil {
		return err
	}
	if err := j.e.batch.store(); err != nil {
		return err
	}
	return putJournalState(tx, entries[len(entries)-1].lsn, j.place.salt)
}

// replay starts the engine's batch in tx and takes all entries. Entries that do not
// follow on what the file holds end all writing: the file is not the one they were
// appended to.
func (j *journalWriter) replay(tx *txn, entries []journalEntry) error {
	e := j.e
	c, err := parseCounters(tx.counters.get(countersLast))
	if err == nil {
		e.batch.begin(tx, c)
		err = e.batch.replay(entries)
	}
	if err != nil {
		err = fmt.Errorf("checkpoint of the journal: %w", err)
		e.halt(err)
	}
	return err
}
