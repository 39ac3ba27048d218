package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/examples/liaptui/game"
	"github.com/liap-tui/savepoint/report"
)

// tally counts the moves and games of this run.
type tally struct {
	moves atomic.Int64 // durable ones
	games atomic.Int64 // finished

	mu   sync.Mutex
	last string // how the last game ended
}

func (y *tally) finished(result string) {
	y.games.Add(1)
	y.mu.Lock()
	defer y.mu.Unlock()
	y.last = result
}

// open opens the file and registers the kind.
func open(c *config, readOnly bool, stderr io.Writer) (*savepoint.DB, *savepoint.Store[game.Game], error) {
	logger := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	db, err := savepoint.Open(c.db, &savepoint.Options{ReadOnly: readOnly, Logger: logger})
	if err != nil {
		return nil, nil, err
	}
	store, err := savepoint.Register(db, tableKind())
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, store, nil
}

// play resumes the games of the file and plays until every table has its games or ctx
// ends.
func play(ctx context.Context, c *config, stdout, stderr io.Writer) error {
	db, store, err := open(c, false, stderr)
	if err != nil {
		return err
	}
	tables, found, err := seat(ctx, c, store)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	kept := "every move is kept in " + c.db
	if c.db == savepoint.Memory {
		kept = "nothing is kept"
	}
	fmt.Fprintf(stdout, "Liap Tui: %s, four bots each, %s; %s\n", count(c.tables, "table"), goal(c), kept)
	found.print(stdout)

	start := time.Now()
	var y tally
	stop := watch(stdout, func() (float64, string) { return progress(c, found, &y, time.Since(start)) })
	err = playAll(ctx, tables, &y)
	stop()
	if ctx.Err() != nil {
		fmt.Fprintln(stdout, "stopped: all moves are on disk; run the same command again to continue")
	}
	took := time.Since(start)
	err = errors.Join(err, db.Close())
	summary(stdout, c, &y, db.Stats(), took)
	return err
}

// playAll runs each table in a goroutine of its own. A table that fails does not end
// the others.
func playAll(ctx context.Context, tables []*table, y *tally) error {
	errs := make([]error, len(tables))
	var all sync.WaitGroup
	for i, t := range tables {
		all.Go(func() { errs[i] = t.play(ctx, y) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func goal(c *config) string {
	if c.games == 0 {
		return "until stopped"
	}
	return count(c.games, "game") + " a table"
}

// progress returns the text of the progress line and the part of the run that is
// done; the part is negative if the run has no end.
func progress(c *config, f *found, y *tally, took time.Duration) (part float64, text string) {
	games, moves := y.games.Load(), y.moves.Load()
	text = fmt.Sprintf("%s moves, %s/s", thousands(moves), thousands(perSecond(moves, took)))
	if c.games == 0 {
		return -1, count(int(games), "game") + " finished, " + text
	}
	return float64(games) / float64(max(f.toPlay, 1)), fmt.Sprintf("%s of %s, %s", thousands(games), count(f.toPlay, "game"), text)
}

// summary prints what the run did. The database is closed, so that its counts and the
// size of the file are final.
func summary(w io.Writer, c *config, y *tally, s report.Stats, took time.Duration) {
	moves := y.moves.Load()
	fmt.Fprintf(w, "\n%s finished in %s\n", count(int(y.games.Load()), "game"), took.Round(time.Millisecond))
	if y.last != "" {
		fmt.Fprintf(w, "  the last   %s\n", y.last)
	}
	fmt.Fprintf(w, "  events     %s, %s/s\n", thousands(moves), thousands(perSecond(moves, took)))
	fmt.Fprintf(w, "  snapshots  %s\n", thousands(s.Snapshots))
	if l := s.Operations["update"]; l.Count > 0 {
		fmt.Fprintf(w, "  append     p50 %s, p99 %s from the move until it is on disk\n", round(l.P50), round(l.P99))
		fmt.Fprintf(w, "  commits    %s of %.1f moves each\n", thousands(s.Groups), float64(s.Steps)/float64(max(s.Groups, 1)))
	}
	if info, err := os.Stat(c.db); err == nil {
		fmt.Fprintf(w, "  file       %s\n", bytesOf(info.Size()))
	}
}
