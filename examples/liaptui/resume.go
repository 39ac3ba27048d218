package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/examples/liaptui/game"
)

// found describes the games of the file at the start.
type found struct {
	finished int      // games, at the tables of this run
	resumed  []*table // with an unfinished game, by number
	others   int      // games of tables beyond -tables
	damaged  []string // heads that cannot be read; their games are left alone
	toPlay   int      // games that this run has to finish; 0 with -games 0
}

// seat lists the games of the file and makes the tables that play on.
func seat(ctx context.Context, c *config, store *savepoint.Store[game.Game]) ([]*table, *found, error) {
	tables := make([]*table, c.tables)
	for i := range tables {
		tables[i] = &table{c: c, store: store, number: i + 1}
	}
	f := &found{}
	for head, err := range store.List(ctx, savepoint.ListOptions{Deleted: true}) {
		if err != nil && !(errors.Is(err, savepoint.ErrCorrupt) && head.ID != "") {
			return nil, nil, err
		}
		number, n, ok := parseID(head.ID)
		if !ok || number > c.tables {
			f.others++
			continue
		}
		t := tables[number-1]
		t.newest = max(t.newest, n)
		switch {
		case err != nil:
			f.damaged = append(f.damaged, fmt.Sprintf("%s: %v", head.ID, err))
		case head.Deleted:
		case head.Phase == game.GameOver:
			t.finished++
		case n > t.resume:
			t.resume, t.at = n, head.Seq
		}
	}
	for _, t := range tables {
		f.finished += t.finished
		if t.wants() && t.resume > 0 {
			f.resumed = append(f.resumed, t)
		}
		f.toPlay += max(c.games-t.finished, 0)
	}
	return tables, f, nil
}

// manyTables is the number of resumed games from which on they are printed in one line.
const manyTables = 12

// print prints what was found in the file.
func (f *found) print(w io.Writer) {
	if f.finished > 0 {
		fmt.Fprintf(w, "found %s finished\n", count(f.finished, "game"))
	}
	if n := len(f.resumed); n > 0 && n <= manyTables {
		fmt.Fprintf(w, "resumed %s:\n", count(n, "unfinished game"))
		for _, t := range f.resumed {
			fmt.Fprintf(w, "  %s at move %d\n", gameID(t.number, t.resume), t.at)
		}
	} else if n > 0 {
		least, most, moves := f.resumed[0], f.resumed[0], uint64(0)
		for _, t := range f.resumed {
			if t.at < least.at {
				least = t
			}
			if t.at > most.at {
				most = t
			}
			moves += t.at
		}
		fmt.Fprintf(w, "resumed %s with %s moves: from move %d (%s) to move %d (%s)\n", count(n, "unfinished game"), thousands(int64(moves)),
			least.at, gameID(least.number, least.resume), most.at, gameID(most.number, most.resume))
	}
	if f.others > 0 {
		fmt.Fprintf(w, "left alone: %s of other tables\n", count(f.others, "game"))
	}
	for _, d := range f.damaged {
		fmt.Fprintf(w, "left alone: %s\n", d)
	}
}
