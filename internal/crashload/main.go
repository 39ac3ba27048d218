// Crashload is a workload and a verifier for crash tests. "run" writes to
// game.db in the current directory and prints BEGIN and ACK lines. "verify"
// reads paths from stdin and prints HAVE lines for each, then OK or BAD. See
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

// dbName is the name of the file in the current directory.
const dbName = "game.db"

// journal is the option Journal of all processes of the workload, and of the
// verifier when it writes.
var journal int64

func main() {
	var (
		mode     = flag.String("mode", "run", "run | verify")
		appends  = flag.Int64("appends", 400, "run: number of writes, 0 = until killed")
		machines = flag.Int("machines", 14, "run: number of machines of all kinds")
		writers  = flag.Int("writers", 4, "run: number of goroutines that write")
		seed     = flag.Int64("seed", 1, "run: seed of all random choices")
		from     = flag.String("from", "", "run: continue with a copy of this file, and print the lines of <file>.lines first")
		lives    = flag.Int("lives", 0, "run: number of processes that first write to the same file and are killed")
		bytes    = flag.Int64("journal", 0, "size of the file's journal in bytes, as in Options")
	)
	flag.Parse()
	journal = *bytes
	switch *mode {
	case "verify":
		verifyAll(os.Stdin, os.Stdout)
	case "run":
		if *from != "" {
			must(copyImage(*from))
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

// verifyAll verifies the file at each path that it reads from in.
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

// copyImage makes a durable copy of a crash image the file of this run, and prints
// the lines that belong to the image again.
func copyImage(image string) error {
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

// liveAndDie runs this program with other arguments and kills it some time after
// the file exists.
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
