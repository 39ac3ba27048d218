package savepoint_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/liap-tui/savepoint"
	"github.com/liap-tui/savepoint/report"
)

// Game is a card game of two: the state of a machine is a struct of exported fields.
type Game struct {
	Phase string
	Turn  int
	Table []string
}

// Played is an event: one thing that can happen to a Game.
type Played struct {
	Seat int
	Card string
}

// Check is the rule: it refuses a move, and is not asked again when the move is replayed.
func (e Played) Check(g *Game, _ savepoint.Meta) error {
	if e.Seat != g.Turn {
		return fmt.Errorf("seat %d is not to play", e.Seat)
	}
	return nil
}

// Apply is what the event does to the state.
func (e Played) Apply(g *Game, _ savepoint.Meta) error {
	g.Table, g.Turn = append(g.Table, e.Card), (g.Turn+1)%2
	return nil
}

// Ended is an event that goes to another phase.
type Ended struct{}

func (Ended) Apply(g *Game, _ savepoint.Meta) error { g.Phase = "over"; return nil }

// gameKind says what a game is.
func gameKind() savepoint.Kind[Game] {
	return savepoint.Kind[Game]{
		Name:    "game",
		Version: savepoint.V(1, 0, 0),
		Events:  savepoint.Events[Game]{"played": Played{}, "ended": Ended{}},
		New:     func() Game { return Game{Phase: "turn"} },
		Phase:   func(g *Game) string { return g.Phase },
		Legal:   map[string][]string{"turn": {"over"}},
	}
}

// openGames opens a database in memory; with a path it would be in a file.
func openGames() (*savepoint.DB, *savepoint.Store[Game]) {
	db, err := savepoint.Open(savepoint.Memory, nil)
	must(err)
	games, err := savepoint.Register(db, gameKind())
	must(err)
	return db, games
}

// playGame appends moves, one by one.
func playGame(games *savepoint.Store[Game], id string, cards ...string) {
	for i, card := range cards {
		_, err := games.Append(context.Background(), id, Played{Seat: i % 2, Card: card})
		must(err)
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// A file is closed and opened again: the game is where it was.
func ExampleOpen() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "games")
	must(err)
	defer os.RemoveAll(dir)
	for range 2 {
		db, err := savepoint.Open(filepath.Join(dir, "games.db"), nil)
		must(err)
		games, err := savepoint.Register(db, gameKind())
		must(err)
		head, err := games.Update(ctx, "g-1", func(m *savepoint.Machine[Game]) error {
			return m.Append(Played{m.State().Turn, "7H"})
		})
		must(err)
		fmt.Println("created:", db.OpenReport().Created, "moves:", head.Seq)
		must(db.Close())
	}
	// Output:
	// created: true moves: 1
	// created: false moves: 2
}

// A whole game: its kind, two moves, one that is refused, and a state of the past.
func ExampleRegister() {
	ctx := context.Background()
	db, err := savepoint.Open(savepoint.Memory, nil) // or the path of a file
	must(err)
	defer db.Close()
	games, err := savepoint.Register(db, savepoint.Kind[Game]{
		Name:   "game",
		Events: savepoint.Events[Game]{"played": Played{}},
	})
	must(err)

	_, err = games.Append(ctx, "g-1", Played{Seat: 0, Card: "7H"}) // on disk when it returns
	must(err)
	_, err = games.Append(ctx, "g-1", Played{Seat: 1, Card: "9H"})
	must(err)
	_, err = games.Append(ctx, "g-1", Played{Seat: 1, Card: "TH"})
	fmt.Println(err)

	now, err := games.Load(ctx, "g-1")
	must(err)
	before, err := games.At(ctx, "g-1", savepoint.AtSeq(1))
	must(err)
	fmt.Println(now.Value.Table, "was", before.Value.Table)
	// Output:
	// append to game "g-1": seat 1 is not to play
	// [7H 9H] was [7H]
}

// A change of phase that is not listed is refused.
func ExampleKind() {
	ctx := context.Background()
	kind := gameKind()
	kind.Legal = map[string][]string{"turn": {"scoring"}}
	db, err := savepoint.Open(savepoint.Memory, nil)
	must(err)
	defer db.Close()
	games, err := savepoint.Register(db, kind)
	must(err)
	_, err = games.Append(ctx, "g-1", Ended{})
	fmt.Println(errors.Is(err, savepoint.ErrIllegal))
	// Output: true
}

// Two players move at once: the second one is told that the game has gone on.
func ExampleIfSeq() {
	ctx := context.Background()
	db, games := openGames()
	defer db.Close()
	playGame(games, "g-1", "7H")
	_, err := games.Append(ctx, "g-1", Played{Seat: 1, Card: "9H"}, savepoint.IfSeq(1), savepoint.By("ann"))
	must(err)
	_, err = games.Append(ctx, "g-1", Played{Seat: 0, Card: "TH"}, savepoint.IfSeq(1), savepoint.By("bob"))
	var c *savepoint.ConflictError
	if errors.As(err, &c) {
		fmt.Println("wanted", c.Want, "and the game is at", c.Have)
	}
	// Output: wanted 1 and the game is at 2
}

// A request that comes twice is carried out once.
func ExampleKey() {
	ctx := context.Background()
	db, games := openGames()
	defer db.Close()
	for range 2 {
		head, err := games.Append(ctx, "g-1", Played{Seat: 0, Card: "7H"}, savepoint.Key("request 4711"))
		must(err)
		fmt.Println(head.Seq)
	}
	// Output:
	// 1
	// 1
}

// Several events of one machine: all of them, or none.
func ExampleStore_Update() {
	ctx := context.Background()
	db, games := openGames()
	defer db.Close()
	_, err := games.Update(ctx, "g-1", func(m *savepoint.Machine[Game]) error {
		if err := m.Append(Played{Seat: 0, Card: "7H"}); err != nil {
			return err
		}
		if len(m.State().Table) < 2 {
			return errors.New("two cards, please")
		}
		return nil
	})
	fmt.Println("refused:", err != nil)
	_, err = games.Load(ctx, "g-1")
	fmt.Println("nothing is stored:", errors.Is(err, savepoint.ErrNotFound))
	// Output:
	// refused: true
	// nothing is stored: true
}

// Writes that do not wait for the disk, and one wait for all of them.
func ExampleStore_Go() {
	ctx := context.Background()
	db, games := openGames()
	defer db.Close()
	var last *savepoint.Ack
	for i, card := range []string{"7H", "9H", "TH"} {
		last = games.Go(ctx, "g-1", Played{Seat: i % 2, Card: card}) // applied or refused when it returns
	}
	head, err := last.Wait(ctx) // the acks of a machine resolve in order
	fmt.Println(head.Seq, err)
	// Output: 3 <nil>
}

// The whole state at once, for a program that has no events.
func ExampleStore_Save() {
	ctx := context.Background()
	db, games := openGames()
	defer db.Close()
	_, err := games.Save(ctx, "g-1", Game{Phase: "turn", Table: []string{"AS"}})
	must(err)
	st, err := games.Load(ctx, "g-1")
	must(err)
	fmt.Println(st.Seq, st.Value.Table)
	// Output: 1 [AS]
}

// Two machines change together, or neither does.
func ExampleDB_Update() {
	ctx := context.Background()
	db, games := openGames()
	defer db.Close()
	err := db.Update(ctx, func(tx *savepoint.Tx) error {
		for _, id := range []string{"g-1", "g-2"} {
			m, err := games.In(tx, id)
			if err != nil {
				return err
			}
			if err := m.Append(Played{Seat: 0, Card: "7H"}); err != nil {
				return err
			}
		}
		return nil
	})
	must(err)
	for head, err := range games.List(ctx, savepoint.ListOptions{}) {
		fmt.Println(head.ID, head.Seq, err)
	}
	// Output:
	// g-1 1 <nil>
	// g-2 1 <nil>
}

// View reads the newest state without a copy.
func ExampleStore_View() {
	ctx := context.Background()
	db, games := openGames()
	defer db.Close()
	playGame(games, "g-1", "7H", "9H")
	cards := 0
	must(games.View(ctx, "g-1", func(st *savepoint.State[Game]) error {
		cards = len(st.Value.Table) // the pointer must not be kept
		return nil
	}))
	fmt.Println(cards)
	// Output: 2
}

// What happened, and who did it.
func ExampleStore_Events() {
	ctx := context.Background()
	db, games := openGames()
	defer db.Close()
	_, err := games.Append(ctx, "g-1", Played{Seat: 0, Card: "7H"}, savepoint.By("ann"))
	must(err)
	_, err = games.Append(ctx, "g-1", Ended{}, savepoint.By("system"))
	must(err)
	for rec, err := range games.Events(ctx, "g-1", savepoint.EventRange{}) {
		must(err)
		switch e := rec.Event.(type) {
		case Played:
			fmt.Println(rec.Seq, rec.Actor, "played", e.Card)
		case Ended:
			fmt.Println(rec.Seq, rec.Actor, rec.From, "->", rec.To)
		}
	}
	// Output:
	// 1 ann played 7H
	// 2 system turn -> over
}

// The state at each move.
func ExampleStore_At() {
	ctx := context.Background()
	db, games := openGames()
	defer db.Close()
	playGame(games, "g-1", "7H", "9H", "TH")
	for seq := range uint64(4) {
		st, err := games.At(ctx, "g-1", savepoint.AtSeq(seq))
		must(err)
		fmt.Println(seq, st.Value.Table)
	}
	// Output:
	// 0 []
	// 1 [7H]
	// 2 [7H 9H]
	// 3 [7H 9H TH]
}

// Another game starts from a moment of this one.
func ExampleStore_Fork() {
	ctx := context.Background()
	db, games := openGames()
	defer db.Close()
	playGame(games, "g-1", "7H", "9H", "TH")
	_, err := games.Fork(ctx, "g-1", savepoint.AtSeq(2), "g-2")
	must(err)
	_, err = games.Append(ctx, "g-2", Played{Seat: 0, Card: "AS"})
	must(err)
	for _, id := range []string{"g-1", "g-2"} {
		st, err := games.Load(ctx, id)
		must(err)
		fmt.Println(id, st.Value.Table)
	}
	// Output:
	// g-1 [7H 9H TH]
	// g-2 [7H 9H AS]
}

// A state is kept under a name.
func ExampleStore_Snapshot() {
	ctx := context.Background()
	db, games := openGames()
	defer db.Close()
	playGame(games, "g-1", "7H", "9H")
	_, err := games.Snapshot(ctx, "g-1", savepoint.Tag("half time"))
	must(err)
	for info, err := range games.Snapshots(ctx, "g-1", savepoint.SnapshotRange{Tag: "half time"}) {
		must(err)
		fmt.Println(info.Seq, info.Phase)
	}
	// Output: 2 turn
}

// A game goes back to the moment before a mistake. What happened since stays in its history.
func ExampleStore_Recover() {
	ctx := context.Background()
	db, games := openGames()
	defer db.Close()
	playGame(games, "g-1", "7H", "9H", "TH")
	_, err := games.Mark(ctx, "g-1", 3, errors.New("the card was not dealt"))
	must(err)
	rep, err := games.Recover(ctx, "g-1", savepoint.RecoverOptions{To: savepoint.BeforeError(), Reason: "a card from nowhere"})
	must(err)
	fmt.Println(rep.Status == report.Restored, "to the state after move", rep.Seq)
	st, err := games.Load(ctx, "g-1")
	must(err)
	fmt.Println(st.Value.Table)
	// Output:
	// true to the state after move 2
	// [7H 9H]
}

// A replay of all events is compared with what is stored.
func ExampleStore_Verify() {
	ctx := context.Background()
	db, games := openGames()
	defer db.Close()
	playGame(games, "g-1", "7H", "9H")
	rep, err := games.Verify(ctx, "g-1")
	must(err)
	fmt.Println(rep.OK(), rep.Events, "events")
	// Output: true 2 events
}

// RecoverAll rebuilds every machine, as a server does after a crash.
func ExampleDB_RecoverAll() {
	ctx := context.Background()
	db, games := openGames()
	defer db.Close()
	playGame(games, "g-1", "7H")
	playGame(games, "g-2", "9H")
	rep, err := db.RecoverAll(ctx, savepoint.RecoverAllOptions{})
	must(err)
	fmt.Println(rep.Machines, "machines,", rep.Healthy, "healthy,", len(rep.Failed), "failed")
	// Output: 2 machines, 2 healthy, 0 failed
}

// A new version of the program: the state has a field more, whose value comes from another one.
func ExampleStructMigration() {
	type oldGame struct{ Moves int }
	type newGame struct{ Moves, Rounds int }
	m := savepoint.Migration{
		From: savepoint.V(1, 0, 0), To: savepoint.V(2, 0, 0),
		Up:   savepoint.StructMigration(func(o oldGame) (newGame, error) { return newGame{o.Moves, o.Moves / 2}, nil }),
		Down: savepoint.StructMigration(func(n newGame) (oldGame, error) { return oldGame{n.Moves}, nil }),
	}
	fmt.Println(savepoint.CheckMigration(m, savepoint.Doc{"Moves": 7})) // in a test of the program
	d, err := m.Up(savepoint.Doc{"Moves": int64(7)})
	fmt.Println(d["Rounds"], err)
	// Output:
	// <nil>
	// 3 <nil>
}

// All machines of a kind are brought to its version, before they are used.
func ExampleStore_Migrate() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "games")
	must(err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "games.db")
	for _, version := range []savepoint.Version{savepoint.V(1, 0, 0), savepoint.V(2, 0, 0)} {
		kind := gameKind()
		kind.Version = version
		if version.Major == 2 {
			kind.Migrations = []savepoint.Migration{{From: savepoint.V(1, 0, 0), To: version,
				Up: func(d savepoint.Doc) (savepoint.Doc, error) { d["Turn"] = 1; return d, nil }}}
		}
		db, err := savepoint.Open(path, nil)
		must(err)
		games, err := savepoint.Register(db, kind)
		must(err)
		if version.Major == 1 {
			playGame(games, "g-1", "7H", "9H")
		}
		rep, err := games.Migrate(ctx, savepoint.MigrateOptions{})
		must(err)
		st, err := games.Load(ctx, "g-1")
		must(err)
		fmt.Println(st.Version, "migrated:", rep.Migrated, "turn:", st.Value.Turn)
		must(db.Close())
	}
	// Output:
	// 1.0.0 migrated: 0 turn: 0
	// 2.0.0 migrated: 1 turn: 1
}

// Records of all machines, by who wrote them.
func ExampleDB_Query() {
	ctx := context.Background()
	db, games := openGames()
	defer db.Close()
	for i, actor := range []string{"ann", "bob", "ann"} {
		_, err := games.Append(ctx, fmt.Sprint("g-", i), Played{Seat: 0, Card: "7H"}, savepoint.By(actor))
		must(err)
	}
	page, err := db.Query(ctx, savepoint.Query{Actor: "ann", Newest: true})
	must(err)
	for _, rec := range page.Records {
		fmt.Println(rec.ID, rec.Event.(Played).Card)
	}
	// Output:
	// g-2 7H
	// g-0 7H
}

// A follower reads the records of all machines in their order, and goes on where it stopped.
func ExampleDB_Feed() {
	ctx := context.Background()
	db, games := openGames()
	defer db.Close()
	playGame(games, "g-1", "7H")
	playGame(games, "g-2", "9H")
	pos, err := db.FeedPos(ctx, "statistics")
	must(err)
	for rec, err := range db.Feed(ctx, pos) { // it waits for further records; this loop ends itself
		must(err)
		fmt.Println(rec.ID, rec.Name)
		must(db.SaveFeedPos(ctx, "statistics", rec.Pos))
		if rec.ID == "g-2" {
			break
		}
	}
	// Output:
	// g-1 played
	// g-2 played
}

// A client follows one game.
func ExampleStore_Watch() {
	ctx := context.Background()
	db, games := openGames()
	defer db.Close()
	playGame(games, "g-1", "7H", "9H")
	games.Go(ctx, "g-1", Ended{})
	for rec, err := range games.Watch(ctx, "g-1", 1) { // the records after 1, and those that come
		must(err)
		fmt.Println(rec.Seq, rec.Name)
		if rec.To == "over" {
			break
		}
	}
	// Output:
	// 2 played
	// 3 ended
}

// The log of a machine is made shorter; its state stays.
func ExampleStore_Compact() {
	ctx := context.Background()
	db, games := openGames()
	defer db.Close()
	playGame(games, "g-1", "7H", "9H", "TH")
	rep, err := games.Compact(ctx, "g-1", savepoint.AtSeq(2)) // with Options.Archive the records go there
	must(err)
	st, err := games.Load(ctx, "g-1")
	must(err)
	fmt.Println(rep.Records, "records removed, the table is", st.Value.Table)
	// Output: 2 records removed, the table is [7H 9H TH]
}

// A deleted machine leaves its history; Purge would forget it.
func ExampleStore_Delete() {
	ctx := context.Background()
	db, games := openGames()
	defer db.Close()
	playGame(games, "g-1", "7H")
	_, err := games.Delete(ctx, "g-1")
	must(err)
	_, err = games.Load(ctx, "g-1")
	st, atErr := games.At(ctx, "g-1", savepoint.AtSeq(1))
	must(atErr)
	fmt.Println(errors.Is(err, savepoint.ErrDeleted), st.Value.Table)
	// Output: true [7H]
}

// Counts for an operator.
func ExampleDB_Stats() {
	db, games := openGames()
	defer db.Close()
	playGame(games, "g-1", "7H", "9H")
	s := db.Stats()
	fmt.Println(s.Machines, "machine,", s.Operations["append"].Count, "appends,", s.Refused, "refused")
	// Output: 1 machine, 2 appends, 0 refused
}
