package bolt

// planTrim finds the blocks of the file that hold events up to m.trimTo. Of a block
// that also holds later events, these are stored again. A damaged block that may
// hold later events stays, because what else it holds cannot be known.
//
// It must run before the transaction changes anything: bbolt's cursor does not
// step back over a leaf that the same transaction has emptied.
func (b *batch) planTrim(m *machineState) error {
	if m.trimTo == 0 || m.before.number == 0 || m.before.number != m.head.number {
		return nil
	}
	number, to, tx := m.head.number, m.trimTo, b.buckets.tx
	cur := tx.events.cursor()
	k, _ := cur.before(appendValueAfter(b.buckets.key[:0], number, to))
	n, first, _, ok := splitValueKey(k)
	if !ok || n != number {
		return nil
	}
	m.trimBlocks, m.trimThrough = true, first
	m.head.trims++
	k, _ = cur.seek(appendValueAfter(b.buckets.key[:0], number, first))
	next, nextSeq, _, ok := splitValueKey(k)
	if m.before.seq <= to || ok && next == number && nextSeq == to+1 {
		return nil // the block ends at to
	}
	block, err := b.trimmed.readOwned(tx, number, first)
	switch {
	case err != nil && first == 0:
		m.trimBlocks = false
	case err != nil:
		m.trimThrough = first - 1
	case block.Last > to:
		b.storeAgain(m, &block)
	}
	return nil
}

// storeAgain adds the events after m.trimTo of a block that is removed to the changes.
func (b *batch) storeAgain(m *machineState, block *wholeBlock) {
	for e, ok := block.Next(); ok; e, ok = block.Next() {
		if e.Seq > m.trimTo {
			b.changes.events = append(b.changes.events, pendingEvent{m, m.head.number, block.header.Kind, block.header.Schema, e})
		}
	}
}
