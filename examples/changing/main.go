// Changing is version 2 of the quick start: its state and its event have changed,
// and it continues the games that the quick start wrote.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"

	"github.com/liap-tui/savepoint"
)

func main() {
	all := flag.Bool("all", false, "migrate all games now")
	back := flag.Bool("back", false, "bring all games back to version 1")
	flag.Parse()
	db, err := savepoint.Open("cards.db", nil)
	must(err)
	games, err := savepoint.Register(db, Cards)
	must(err)
	switch {
	case *all:
		must(migrate(games))
	case *back:
		must(goBack(games))
	default:
		must(play(games))
	}
	must(db.Close())
}

// play plays one move, and shows the game before and after it.
func play(games *savepoint.Store[Game]) error {
	ctx := context.Background()
	before, err := games.Load(ctx, "game-1")
	if err != nil {
		return err
	}
	fmt.Printf("version %s, upcast %v: %+v\n", before.Version, before.Upcast, before.Value)
	card := Card{Seat: before.Value.Turn, Number: before.Value.Moves + 1}
	head, err := games.Append(ctx, "game-1", Laid{card}, savepoint.IfSeq(before.Seq))
	if err != nil {
		return err
	}
	fmt.Printf("version %s, record %d\n", head.Version, head.Seq)
	return nil
}

// migrate prints what a migration of all games would change, and then migrates them.
func migrate(games *savepoint.Store[Game]) error {
	ctx := context.Background()
	status, err := games.MigrationStatus(ctx)
	if err != nil {
		return err
	}
	for _, v := range status.Versions {
		fmt.Printf("version %s: %d games\n", v.Version, v.Machines)
	}
	dry, err := games.Migrate(ctx, savepoint.MigrateOptions{DryRun: true})
	if err != nil {
		return err
	}
	for _, c := range dry.Changes {
		fmt.Printf("%s: %v\n", c.ID, c.Differences)
	}
	for _, problem := range dry.Failed {
		fmt.Println("would fail:", problem)
	}
	done, err := games.Migrate(ctx, savepoint.MigrateOptions{})
	if err != nil {
		return err
	}
	fmt.Printf("%d of %d games migrated\n", done.Migrated, done.Machines)
	return nil
}

// goBack migrates all games back to version 1, so that the quick start can use the file.
func goBack(games *savepoint.Store[Game]) error {
	rep, err := games.Migrate(context.Background(), savepoint.MigrateOptions{To: savepoint.V(1, 0, 0)})
	if err != nil {
		return err
	}
	fmt.Printf("%d games back in version %s\n", rep.Migrated, rep.To)
	return nil
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
