// Crashload is a workload and a verifier for crash tests. "run" writes to
// game.db in the current directory and prints BEGIN and ACK lines, "verify"
// reads paths from stdin and answers with HAVE lines, then OK or BAD. See
// docs/TESTING.md.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"
)

// dbName is the file in the current directory.
const dbName = "game.db"

// journal is the option of that name, in all lives and of the verifier where it writes.
var journal int64

func main() {
	var (
		mode     = flag.String("mode", "run", "run | verify")
		appends  = flag.Int64("appends", 400, "run: writes in all, 0 = until killed")
		machines = flag.Int("machines", 14, "run: machines, of all kinds")
		writers  = flag.Int("writers", 4, "run: goroutines that write")
		seed     = flag.Int64("seed", 1, "run: seed; every choice but the interleaving follows from it")
		from     = flag.String("from", "", "run: go on from a copy of this file, and repeat the lines beside it, in <file>.lines")
		lives    = flag.Int("lives", 0, "run: first so many processes that are killed, on the same file")
		ring     = flag.Int64("journal", 0, "bytes of the file's journal, as in Options")
	)
	flag.Parse()
	journal = *ring
	switch *mode {
	case "verify":
		verifyAll(os.Stdin, os.Stdout)
	case "run":
		if *from != "" {
			must(adopt(*from))
		}
		rnd := rand.New(rand.NewSource(*seed))
		for n := range *lives {
			must(liveAndDie(rnd, "-mode", "run", "-appends", "0", "-seed", fmt.Sprint(*seed+int64(n)+1),
				"-journal", fmt.Sprint(journal), "-machines", fmt.Sprint(*machines), "-writers", fmt.Sprint(*writers)))
		}
		if *appends == 0 {
			life(dbName, *machines, *writers, *seed, nil)
			return
		}
		for n := range int64(2) { // with a clean close between them
			var left atomic.Int64
			left.Store((*appends + n) / 2)
			life(dbName, *machines, *writers, *seed*2+n, &left)
		}
	default:
		fatal(fmt.Errorf("mode %q is neither run nor verify", *mode))
	}
}

// verifyAll answers each path.
func verifyAll(in io.Reader, out io.Writer) {
	w := bufio.NewWriter(out)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		have, err := verify(lines.Text())
		for m, seq := range have {
			fmt.Fprintf(w, "HAVE %s %d\n", m, seq)
		}
		if err != nil {
			fmt.Fprintf(w, "BAD %.2000q\n", err.Error())
		} else {
			fmt.Fprintln(w, "OK")
		}
		w.Flush()
	}
}

// adopt makes a durable copy of a crash image the file of this run, and says
// again what was promised to it.
func adopt(image string) error {
	lines, err := os.ReadFile(image + ".lines")
	if err != nil {
		return err
	}
	b, err := os.ReadFile(image)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(dbName+".copy", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(dbName+".copy", dbName); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(dbName))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return err
	}
	_, err = os.Stdout.Write(lines)
	return err
}

// liveAndDie runs this program with other arguments and kills it once the file
// is there and some time has gone.
func liveAndDie(rnd *rand.Rand, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := exec.Command(self, args...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if err := c.Start(); err != nil {
		return err
	}
	for made := false; !made; time.Sleep(time.Millisecond) {
		_, err := os.Stat(dbName)
		if made = err == nil; !made && !os.IsNotExist(err) {
			return err
		}
	}
	time.Sleep(time.Duration(50+rnd.Intn(400)) * time.Millisecond)
	if err := c.Process.Kill(); err != nil {
		return err
	}
	if err := c.Wait(); c.ProcessState.Exited() {
		return fmt.Errorf("the workload ended before it was killed: %w", err)
	}
	return nil
}
