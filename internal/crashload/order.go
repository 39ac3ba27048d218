package main

import (
	"fmt"

	"github.com/liap-tui/savepoint"
)

// inOrder checks that db.Query finds every record of the machines, and no other, in
// the order of positions.
func (l *reading) inOrder() error {
	q := savepoint.Query{Limit: 1000}
	var last uint64
	for n := 0; ; {
		page, err := l.w.db.Query(ctx, q)
		if err != nil {
			return err
		}
		if len(page.Damaged) > 0 {
			return page.Damaged[0]
		}
		for _, rec := range page.Records {
			n++
			if name := nameOf(rec.Kind, rec.ID); rec.Pos <= last || l.positions[rec.Pos] != name {
				return fmt.Errorf("record %d of %s has position %d, after %d: the position is one of %q", rec.Seq, name, rec.Pos, last, l.positions[rec.Pos])
			}
			last = rec.Pos
		}
		if q.Cursor = page.Next; q.Cursor != "" {
			continue
		}
		if n != len(l.positions) {
			return fmt.Errorf("the query found %d records, the machines have %d", n, len(l.positions))
		}
		return nil
	}
}
