package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/examples/liaptui/game"
)

// window is the most moves of one table that are played before the oldest of them is
// on disk. A table of people would wait for each move.
const window = 32

// table plays its games one after the other, in one goroutine.
type table struct {
	c      *config
	store  *savepoint.Store[game.Game]
	number int

	finished int    // its games in the file that are over
	newest   int    // number of its newest game in the file; 0 = none
	resume   int    // number of the newest unfinished one; 0 = none
	at       uint64 // the newest move of resume
}

// play plays until the table has its games or ctx ends.
func (t *table) play(ctx context.Context, y *tally) error {
	for t.wants() && ctx.Err() == nil {
		number, by := t.resume, ""
		if number == 0 {
			t.newest++
			number, by = t.newest, "system"
		}
		t.resume = 0
		result, err := t.playGame(ctx, number, by, y)
		if err != nil {
			return fmt.Errorf("table %d: %w", t.number, err)
		}
		if result != "" {
			t.finished++
			y.finished(result)
		}
	}
	return nil
}

func (t *table) wants() bool { return t.c.games == 0 || t.finished < t.c.games }

// playGame plays a game from its newest move. It returns how the game ended, or "" if
// ctx ended first. by is who moves next, or "" in a game that an earlier run started.
// On return every move that playGame made is on disk.
func (t *table) playGame(ctx context.Context, number int, by string, y *tally) (result string, err error) {
	id := gameID(t.number, number)
	writes := context.WithoutCancel(ctx) // a move that was started is finished
	if by == "" {
		err := t.store.View(writes, id, func(s *savepoint.State[game.Game]) error {
			by = actor(&s.Value)
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	move := func(m *savepoint.Machine[game.Game]) error {
		e := game.Next(m.State(), dice(t.c.seed, t.number, number, m.Head().Seq+1))
		if e == nil {
			return fmt.Errorf("no move in phase %s", m.State().Phase)
		}
		if err := m.Append(stored(e)); err != nil {
			return err
		}
		by, result = actor(m.State()), outcome(id, m.State())
		return nil
	}
	var acks [window]*savepoint.Ack // in the order of the moves, the oldest at next
	next := 0
	for ; result == "" && err == nil && ctx.Err() == nil; next = (next + 1) % window {
		if err = t.settle(acks[next], y); err == nil {
			acks[next] = t.store.GoUpdate(writes, id, move, savepoint.By(by))
		}
	}
	for i := range window {
		if e := t.settle(acks[(next+i)%window], y); err == nil {
			err = e
		}
	}
	return result, err
}

// settle waits until a move is on disk.
func (t *table) settle(ack *savepoint.Ack, y *tally) error {
	if ack == nil {
		return nil
	}
	head, err := ack.Wait(context.Background())
	if err != nil {
		return err
	}
	y.moves.Add(1)
	if t.c.acked != nil {
		t.c.acked(head.ID, head.Seq)
	}
	return nil
}

// outcome returns how a game ended, or "" if it has not ended.
func outcome(id string, g *game.Game) string {
	if g.Phase != game.GameOver {
		return ""
	}
	var winners, scores []string
	for seat, p := range g.Players {
		if slices.Contains(g.Winners, seat) {
			winners = append(winners, p.Name)
		}
		scores = append(scores, fmt.Sprint(p.Score))
	}
	return fmt.Sprintf("%s: %s won in round %d (%s)", id, strings.Join(winners, " and "), g.Round, strings.Join(scores, ", "))
}
