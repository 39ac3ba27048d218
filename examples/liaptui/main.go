// Command liaptui lets bots play Liap Tui at many tables at once and keeps
// every move in one savepoint file. Stop it or kill it at any time: the next run
// continues at the last acknowledged move of each table.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// config holds the flags.
type config struct {
	db     string
	tables int
	games  int // per table; 0 = until stopped
	seed   uint64
	verify bool

	acked func(id string, seq uint64) // called after each durable move; nil except in tests
}

const maxTables = 1_000_000

// run is main without the process: it returns the exit code. When ctx ends, run ends
// after the moves that it started are on disk.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "liaptui: %v\n", err)
		return 2
	}
	work := play
	if c.verify {
		work = verify
	}
	if err := work(ctx, &c, stdout, stderr); err != nil {
		complain(stderr, &c, err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (config, error) {
	var c config
	f := flag.NewFlagSet("liaptui", flag.ContinueOnError)
	f.StringVar(&c.db, "db", "liaptui.db", "the `file` with all games")
	f.IntVar(&c.tables, "tables", 8, "tables that play at once")
	f.IntVar(&c.games, "games", 3, "games per table, those already finished in the file included; 0 = until stopped")
	f.Uint64Var(&c.seed, "seed", 1, "seed of the bots' random choices: equal seeds result in equal games")
	f.BoolVar(&c.verify, "verify", false, "replay every game in the file and compare it with what is stored, instead of playing")
	f.SetOutput(io.Discard) // run prints the error, once
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stderr, "Bots play Liap Tui at many tables; every move is kept in one file.\n\nusage: liaptui [flags]")
		f.SetOutput(stderr)
		f.PrintDefaults()
	case err != nil:
	case f.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q: flags only, see -help", f.Arg(0))
	case c.db == "":
		err = errors.New("-db is empty: name a file")
	case c.tables < 1 || c.tables > maxTables:
		err = fmt.Errorf("-tables is %d: use 1 to %d", c.tables, maxTables)
	case c.games < 0:
		err = fmt.Errorf("-games is %d: use 1 or more, or 0 to play until stopped", c.games)
	}
	return c, err
}
