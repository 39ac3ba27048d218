package bolt

import (
	"cmp"
	"slices"
	"strings"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/format"
	"github.com/liap-tui/savepoint/internal/record"
)

// batch takes the steps of one or more groups and stores them in the buckets in
// one transaction. The ledger accepts the steps one by one, each is checked
// against what the accepted steps before it left. Everything is stored at the
// end, sorted by key, so that each page is changed once.
type batch struct {
	opt          *config
	dictionaries *dictionaries

	ledger   ledger
	changes  changes
	buckets  bucketWriter
	blocks   blockWriter
	index    indexWriter
	trimmed  blockReader
	versions versionCounts // heads per version after store; nil if store did not change them
}

// init connects the parts of a new batch.
func (b *batch) init(e *Engine) {
	b.opt, b.dictionaries = &e.opt, &e.dictionaries
	b.ledger.opt, b.ledger.path = &e.opt, e.path
	b.buckets.opt = &e.opt
	b.blocks.buckets, b.index.buckets = &b.buckets, &b.buckets
	b.trimmed.limit = e.opt.maxValue()
}

// begin starts to write in a transaction, after the counters c.
func (b *batch) begin(tx *txn, c fileCounters) {
	b.ledger.begin(c)
	b.ledger.tx, b.buckets.tx = tx, tx
}

// end drops everything that belongs to the caller or to the transaction.
func (b *batch) end() {
	b.ledger.end()
	b.changes.end()
	b.buckets.end()
	b.blocks.end()
	b.index.end()
	b.trimmed = blockReader{limit: b.trimmed.limit}
	b.versions = nil
}

// take accepts a step, or refuses it with an error; a refused step changes nothing.
func (b *batch) take(s *engine.Step) error {
	if err := b.ledger.take(s); err != nil {
		return err
	}
	for i := range s.Writes {
		if w := &s.Writes[i]; !w.Purge {
			b.changes.add(w, b.ledger.owners[i])
		}
	}
	return nil
}

// takeAll takes the steps of a group and fills in their results. It reports whether
// it accepted at least one step that has a write.
func (b *batch) takeAll(steps []engine.Step, out []engine.Result) (taken bool) {
	for i := range steps {
		if out[i].Err = b.take(&steps[i]); out[i].Err == nil {
			out[i].Pos = b.ledger.positions(&steps[i])
			taken = taken || len(steps[i].Writes) > 0
		}
	}
	return taken
}

// store puts everything that the accepted steps ask for into the buckets.
func (b *batch) store() error {
	// Blocks to be trimmed are found before anything is changed: see planTrim.
	for _, m := range b.ledger.touched {
		if err := b.planTrim(m); err != nil {
			return err
		}
	}
	for _, m := range b.ledger.touched {
		if err := b.storeRemovals(m); err != nil {
			return err
		}
	}
	if err := b.blocks.store(b.changes.events); err != nil {
		return err
	}
	if err := b.storeSnapshots(); err != nil {
		return err
	}
	if err := b.storeHeads(); err != nil {
		return err
	}
	if err := b.index.store(&b.changes, b.ledger.from, b.ledger.counters.pos); err != nil {
		return err
	}
	if err := b.storeVersions(); err != nil {
		return err
	}
	return b.buckets.putCounters(&b.ledger.counters)
}

// storeRemovals removes what the file has of a machine that was purged, or the
// blocks that planTrim found.
func (b *batch) storeRemovals(m *machineState) error {
	if m.before.number != 0 && m.before.number != m.head.number {
		b.dictionaries.forget(m.before.number)
		return b.buckets.removeMachine(m.before.number)
	}
	if !m.trimBlocks {
		return nil
	}
	_, err := b.buckets.remove(&b.buckets.tx.events, m.head.number, 0, m.trimThrough)
	return err
}

// storeSnapshots puts and removes snapshots, by machine number and seq.
func (b *batch) storeSnapshots() error {
	all := b.changes.snapshots
	slices.SortStableFunc(all, func(a, b pendingSnapshot) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.seq, b.seq))
	})
	dictionaries, err := b.dictionaries.choose(&b.buckets, all)
	if err != nil {
		return err
	}
	for i := range all {
		s := &all[i]
		if s.number != s.m.head.number {
			continue // the machine was purged
		}
		if i+1 < len(all) && all[i+1].number == s.number && all[i+1].seq == s.seq {
			continue // the last write wins
		}
		if err := b.storeSnapshot(s, dictionaries[s.kind]); err != nil {
			return err
		}
	}
	return nil
}

// storeSnapshot replaces or removes one snapshot. d may be nil.
func (b *batch) storeSnapshot(s *pendingSnapshot, d *format.Dictionary) error {
	t := &b.buckets.tx.snapshots
	if s.number == s.m.before.number {
		removed, err := b.buckets.remove(t, s.number, s.seq, s.seq)
		if err != nil {
			return err
		}
		if removed > 0 || !s.drop && s.seq <= s.m.before.seq {
			s.m.head.edits++
		}
	}
	if s.drop {
		return nil
	}
	if record.Pinned(s.bytes) { // a base must be readable when all dictionaries are lost
		d = nil
	}
	h := format.Header{Type: format.TypeSnapshot, Kind: s.kind, Number: s.number, Seq: s.seq, Schema: s.schema}
	payload := b.buckets.encode(&h, s.bytes, d)
	return b.buckets.putEncoded(t, h, payload)
}

// storeHeads puts the heads of changed machines, by key, and the numbers of new
// machines. It removes the heads of purged ones.
func (b *batch) storeHeads() error {
	touched := b.ledger.touched
	slices.SortFunc(touched, func(a, b *machineState) int { return strings.Compare(a.key, b.key) })
	for _, m := range touched {
		if !m.changed {
			continue
		}
		if !m.exists {
			if err := b.buckets.removeHead(m.key); err != nil {
				return err
			}
			continue
		}
		if m.head.number != m.before.number {
			if err := b.buckets.putNumber(m.head.number, m.key); err != nil {
				return err
			}
		}
		if err := b.buckets.putHead(m.key, &m.head); err != nil {
			return err
		}
	}
	return nil
}

// storeVersions updates the stored number of heads per version.
func (b *batch) storeVersions() error {
	change := b.ledger.versionChanges()
	if len(change) == 0 {
		return nil
	}
	b.versions = foundVersions(b.buckets.tx, change, b.ledger.counters.machines)
	return putVersions(b.buckets.tx, b.versions)
}
