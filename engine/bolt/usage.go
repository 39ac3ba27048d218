package bolt

import (
	"context"
	"errors"
	"fmt"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/engine/bolt/internal/pagecheck"
)

var _ engine.Bucketer = (*Engine)(nil)

// Buckets implements engine.Bucketer: it reads the pages of the buckets, in many
// short read transactions. A transaction that is open for long would keep all
// pages that are freed meanwhile, and the file would grow.
func (e *Engine) Buckets(ctx context.Context) (engine.Usage, error) {
	var u engine.Usage
	names, err := e.measureFile(ctx, &u)
	if err != nil {
		return engine.Usage{}, err
	}
	for _, name := range names {
		b := engine.Bucket{Name: name}
		if err := e.measureBucket(ctx, &b); err != nil {
			return engine.Usage{}, err
		}
		u.Buckets = append(u.Buckets, b)
	}
	return u, nil
}

// errNewerMeta is returned when commits have overwritten the meta page of the
// transaction: then it is measured again.
var errNewerMeta = errors.New("the meta page of the transaction was overwritten")

// measureFile fills in u except the buckets, whose names it returns.
func (e *Engine) measureFile(ctx context.Context, u *engine.Usage) (names []string, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		entries, checkpointed := e.memtable.all(), uint64(0)
		err = e.view(func(tx *txn) (err error) {
			if names, err = tx.names(); err != nil {
				return err
			}
			if len(entries) > 0 {
				if checkpointed, _, err = parseJournalState(tx); err != nil {
					return fmt.Errorf("%w: the state of the journal: %w", engine.ErrCorrupt, err)
				}
			}
			return e.measureSystem(tx, u)
		})
		if errors.Is(err, errNewerMeta) {
			continue
		}
		if err != nil {
			return nil, pageError(err)
		}
		return names, measureJournal(entries, checkpointed, u)
	}
}

// measureSystem counts the file's pages and those that no bucket has.
func (e *Engine) measureSystem(tx *txn, u *engine.Usage) error {
	metas := pagecheck.ReadMetas(e.file)
	meta := &metas[0]
	if meta.Tx != tx.id() || !meta.Sound {
		meta = &metas[1]
	}
	if meta.Tx != tx.id() || !meta.Sound {
		return errNewerMeta
	}
	info, err := e.file.Stat()
	if err != nil {
		return err
	}
	f := e.pages(tx)
	free, list, err := f.FreePages(meta.FreeList)
	if err != nil {
		return err
	}
	var root pagecheck.Usage
	if _, err := f.Measure(tx.listRoot(), nil, int(f.Pages), &root); err != nil {
		return err
	}
	u.FileBytes, u.PageBytes, u.Pages = info.Size(), f.Page, int64(f.Pages)
	u.FreePages, u.SystemPages = free, int64(len(metas))+list+root.Pages
	return nil
}

// pages returns the file's pages as they are in the transaction.
func (e *Engine) pages(tx *txn) pagecheck.File {
	size := e.handle.pageSize()
	return pagecheck.File{R: e.file, Page: size, Pages: uint64(tx.size() / size)}
}

// measureJournal counts what the entries after the checkpointed lsn hold.
func measureJournal(entries []journalEntry, checkpointed uint64, u *engine.Usage) error {
	u.Journal = engine.JournalUsage{}
	for i := range entries {
		if entries[i].lsn <= checkpointed {
			continue
		}
		_, _, records, err := splitEntry(entries[i].payload)
		if err != nil {
			return fmt.Errorf("%w: record %d of the journal: %w", engine.ErrCorrupt, entries[i].lsn, err)
		}
		u.Journal.Records += int64(records)
		u.Journal.Bytes += int64(len(entries[i].payload))
	}
	return nil
}

// all returns all entries.
func (t *memtable) all() (entries []journalEntry) {
	if t == nil {
		return nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, gen := range t.generations {
		entries = append(entries, gen.entries...)
	}
	return entries
}

// measureBucket counts what a bucket holds, readBytes of its pages in each
// transaction. A bucket that was removed meanwhile holds nothing.
func (e *Engine) measureBucket(ctx context.Context, b *engine.Bucket) error {
	var u pagecheck.Usage
	for next, more := []byte(nil), true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := e.view(func(tx *txn) (err error) {
			t := tx.tree(b.Name)
			if next, err = e.measurePart(tx, &t, next, &u); err != nil {
				return err
			}
			more = next != nil
			return nil
		})
		if err != nil {
			return pageError(err)
		}
	}
	b.Entries, b.KeyBytes, b.ValueBytes, b.Pages = u.Entries, u.KeyBytes, u.ValueBytes, u.Pages
	return nil
}

func (e *Engine) measurePart(tx *txn, t *tree, from []byte, u *pagecheck.Usage) (next []byte, err error) {
	if !t.there() {
		return nil, nil
	}
	if root := t.root(); root != 0 {
		f := e.pages(tx)
		return f.Measure(root, from, max(1, e.opt.readBytes/int(f.Page)), u)
	}
	cur := t.cursor() // it is shorter than a page
	for k, v := cur.seek(from); k != nil; k, v = cur.next() {
		u.Entries++
		u.KeyBytes += int64(len(k))
		u.ValueBytes += int64(len(v))
	}
	return nil, nil
}
