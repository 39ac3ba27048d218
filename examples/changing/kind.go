package main

import (
	"fmt"

	"github.com/liap-tui/savepoint"
)

// Card is new in version 2; version 1 had only its name.
type Card struct{ Seat, Number int }

// Game is the state in version 2.
type Game struct {
	Turn  int
	Table []Card
	Moves int
}

// Laid is the event that was Played in version 1.
type Laid struct{ Card Card }

func (e Laid) Check(g *Game, _ savepoint.Meta) error { // the rules
	if e.Card.Seat != g.Turn {
		return fmt.Errorf("seat %d is not to play", e.Card.Seat)
	}
	return nil
}

func (e Laid) Apply(g *Game, _ savepoint.Meta) error { // what it does
	g.Table, g.Turn, g.Moves = append(g.Table, e.Card), (g.Turn+1)%2, g.Moves+1
	return nil
}

// GameV1 and PlayedV1 are the state and the event of version 1. They are needed as
// long as there are files that hold them.
type GameV1 struct {
	Turn  int
	Table []string
}

type PlayedV1 struct {
	Seat int
	Card string
}

func gameUp(old GameV1) (Game, error) {
	g := Game{Turn: old.Turn, Moves: len(old.Table)}
	for i, name := range old.Table {
		card, err := cardOf(i%2, name)
		if err != nil {
			return g, err
		}
		g.Table = append(g.Table, card)
	}
	return g, nil
}

func gameDown(g Game) (GameV1, error) {
	old := GameV1{Turn: g.Turn}
	for _, c := range g.Table {
		old.Table = append(old.Table, fmt.Sprintf("card %d", c.Number))
	}
	return old, nil
}

func playedUp(old PlayedV1) (Laid, error) {
	card, err := cardOf(old.Seat, old.Card)
	return Laid{card}, err
}

func cardOf(seat int, name string) (c Card, err error) {
	c.Seat = seat
	if _, err = fmt.Sscanf(name, "card %d", &c.Number); err != nil {
		err = fmt.Errorf("%q is not a card", name)
	}
	return c, err
}

// Cards is the kind in version 2.
var Cards = savepoint.Kind[Game]{
	Name:    "cards",
	Version: savepoint.V(2, 0, 0),
	Events:  savepoint.Events[Game]{"laid": Laid{}},
	Migrations: []savepoint.Migration{
		{From: savepoint.V(1, 0, 0), To: savepoint.V(2, 0, 0), Up: savepoint.StructMigration(gameUp), Down: savepoint.StructMigration(gameDown)},
		{From: savepoint.V(1, 0, 0), To: savepoint.V(2, 0, 0), Event: "played", Rename: "laid", Up: savepoint.StructMigration(playedUp)},
	},
}
