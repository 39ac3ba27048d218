// Quickstart plays one move of a card game each time it is run, and keeps the game in a file.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/liap-tui/savepoint"
)

type Game struct { // the state: any struct of exported fields
	Turn  int
	Table []string
}

type Played struct { // an event: one thing that can happen
	Seat int
	Card string
}

func (e Played) Check(g *Game, _ savepoint.Meta) error { // the rules
	if e.Seat != g.Turn {
		return fmt.Errorf("seat %d is not to play", e.Seat)
	}
	return nil
}

func (e Played) Apply(g *Game, _ savepoint.Meta) error { // what it does
	g.Table, g.Turn = append(g.Table, e.Card), (g.Turn+1)%2
	return nil
}

func main() {
	ctx := context.Background()
	db, err := savepoint.Open("cards.db", nil)
	must(err)
	games, err := savepoint.Register(db, savepoint.Kind[Game]{
		Name:   "cards",
		Events: savepoint.Events[Game]{"played": Played{}},
	})
	must(err)
	head, err := games.Update(ctx, "game-1", func(m *savepoint.Machine[Game]) error {
		return m.Append(Played{m.State().Turn, fmt.Sprintf("card %d", len(m.State().Table)+1)})
	}) // on disk when it returns: kill the process whenever you like
	must(err)
	now, err := games.Load(ctx, "game-1")
	must(err)
	before, err := games.At(ctx, "game-1", savepoint.AtSeq(head.Seq-1))
	must(err)
	fmt.Printf("move %d: %v, before it: %v\n", head.Seq, now.Value.Table, before.Value.Table)
	must(db.Close())
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
