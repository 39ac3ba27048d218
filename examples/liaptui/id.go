package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/liap-tui/savepoint/examples/liaptui/game"
)

// gameID returns the id of a machine: table and game, both counted from 1.
func gameID(table, number int) string {
	return fmt.Sprintf("t%04d-g%04d", table, number)
}

// parseID is the inverse of gameID; ok is false for an id that gameID does not make.
func parseID(id string) (table, number int, ok bool) {
	n, err := fmt.Sscanf(id, "t%d-g%d", &table, &number)
	return table, number, err == nil && n == 2 && table > 0 && number > 0 && gameID(table, number) == id
}

// dice returns the bots' random source for one move. It depends only on the
// arguments, so a table that was killed and resumed plays the same moves as one that
// was not.
func dice(seed uint64, table, number int, seq uint64) *rand.Rand {
	var key [32]byte
	for i, n := range []uint64{seed, uint64(table), uint64(number), seq} {
		binary.LittleEndian.PutUint64(key[8*i:], n)
	}
	return rand.New(rand.NewChaCha8(key))
}

// actor returns who makes the next move: a player's name, or the server, which seats
// the bots, deals and counts.
func actor(g *game.Game) string {
	if g.ToMove == game.NoSeat {
		return "system"
	}
	return g.Players[g.ToMove].Name
}
