package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync/atomic"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/examples/liaptui/game"
)

// errDiverged means that verify found differences, which it has printed.
var errDiverged = errors.New("the file differs from a replay of its games")

// verify replays every game of the file twice: first the library compares the replay
// with what is stored, then the game's own Validate checks the state after each move.
// Nothing in the file is changed.
func verify(ctx context.Context, c *config, stdout, stderr io.Writer) error {
	db, store, err := open(c, true, stderr)
	if err != nil {
		return err
	}
	machines, events, divergences := 0, 0, 0
	total := float64(max(db.Stats().Machines, 1))
	var looked atomic.Int64
	stop := watch(stdout, func() (float64, string) {
		n := looked.Load()
		return float64(n) / total, count(int(n), "game") + " verified"
	})
	var problems []string
	for head, err := range store.List(ctx, savepoint.ListOptions{}) {
		if err != nil && head.ID == "" {
			stop()
			return errors.Join(err, db.Close())
		}
		n, found := 0, []string(nil)
		if err != nil {
			found = []string{err.Error()}
		} else if n, found, err = examine(ctx, store, &head); err != nil {
			stop()
			return errors.Join(err, db.Close())
		}
		for _, p := range found {
			problems = append(problems, head.ID+": "+p)
		}
		machines, events, divergences = machines+1, events+n, divergences+len(found)
		looked.Add(1)
	}
	stop()
	for _, p := range problems {
		fmt.Fprintln(stdout, p)
	}
	err = db.Close()
	if divergences > 0 {
		err = errors.Join(fmt.Errorf("%s: %w", c.db, errDiverged), err)
	}
	fmt.Fprintf(stdout, "verified %d machines, %d events, %d divergences\n", machines, events, divergences)
	return err
}

// examine verifies one game and returns the problems that it found; damaged bytes are
// among them. An error means that the game could not be verified.
func examine(ctx context.Context, store *savepoint.Store[game.Game], head *savepoint.Head) (events int, wrong []string, err error) {
	rep, err := store.Verify(ctx, head.ID)
	if rep != nil {
		events = rep.Events
		for _, d := range rep.Divergences {
			wrong = append(wrong, d.String())
		}
	}
	if err == nil {
		var more []string
		more, err = judge(ctx, store, head)
		wrong = append(wrong, more...)
	}
	switch {
	case ctx.Err() != nil:
		return 0, nil, context.Cause(ctx)
	case err != nil && damaged(err):
		wrong = append(wrong, err.Error())
		err = nil
	}
	return events, wrong, err
}

// damaged reports whether an error is about the stored bytes of one game.
func damaged(err error) bool {
	gap := (*savepoint.GapError)(nil)
	return errors.As(err, &gap) || errors.Is(err, savepoint.ErrCorrupt) || errors.Is(err, savepoint.ErrQuarantined)
}

// judge replays a game from its events alone, validates each state, and compares the
// last one with the state that the store loads.
func judge(ctx context.Context, store *savepoint.Store[game.Game], head *savepoint.Head) (wrong []string, err error) {
	begin, err := store.At(ctx, head.ID, savepoint.AtSeq(0))
	if errors.Is(err, savepoint.ErrCompacted) {
		return nil, nil // the first moves were removed; Verify has checked the rest
	}
	if err != nil {
		return nil, err
	}
	g := begin.Value
	for rec, err := range store.Events(ctx, head.ID, savepoint.EventRange{}) {
		if gap := (*savepoint.GapError)(nil); errors.As(err, &gap) && gap.Why == nil {
			continue // a recovery gave these up; its record holds the whole state
		}
		if err != nil {
			return wrong, err
		}
		if err := rec.Event.Apply(&g, rec.Meta); err != nil {
			return append(wrong, fmt.Sprintf("record %d (%s): a replay ends here: %v", rec.Seq, rec.Name, err)), nil
		}
		if err := g.Validate(); err != nil {
			wrong = append(wrong, fmt.Sprintf("record %d (%s): the rules refuse the state after it: %v", rec.Seq, rec.Name, err))
		}
	}
	now, err := store.Load(ctx, head.ID)
	if err == nil && !reflect.DeepEqual(g, now.Value) {
		wrong = append(wrong, fmt.Sprintf("record %d: the loaded game differs from a replay of its events", now.Seq))
	}
	return wrong, err
}
