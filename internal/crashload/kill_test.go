package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/liap-tui/savepoint/internal/long"
)

// asChild in the environment makes the test binary the command itself.
const asChild = "CRASHLOAD_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// promises holds what a workload printed.
type promises struct {
	acked map[string]uint64
	begun map[string][]part // by the newest process
}

// read takes the lines of one process.
func (p *promises) read(out string) (acks int) {
	if p.acked == nil {
		p.acked = map[string]uint64{}
	}
	p.begun = map[string][]part{}
	for line := range strings.Lines(out) {
		var name string
		var lo, hi uint64
		if !strings.HasSuffix(line, "\n") {
			continue // cut off by the kill
		}
		if n, _ := fmt.Sscanf(line, "BEGIN %s %d %d", &name, &lo, &hi); n == 3 {
			p.begun[name] = append(p.begun[name], part{name, lo, hi})
		} else if n, _ := fmt.Sscanf(line, "ACK %s %d", &name, &hi); n == 2 {
			p.acked[name] = max(p.acked[name], hi)
			acks++
		}
	}
	return acks
}

// broken compares a verifier's output with the promises. The records that it found are
// promised from then on.
func (p *promises) broken(output string) string {
	have := map[string]uint64{}
	for line := range strings.Lines(output) {
		var name string
		var seq uint64
		if n, _ := fmt.Sscanf(line, "HAVE %s %d", &name, &seq); n == 2 {
			have[name] = seq
		}
	}
	if !strings.HasSuffix("\n"+output, "\nOK\n") {
		return output[strings.LastIndex("\n"+strings.TrimSuffix(output, "\n"), "\n"):]
	}
	for name, seq := range p.acked {
		if have[name] < seq {
			return fmt.Sprintf("LOST: %s was acknowledged up to %d and is at %d", name, seq, have[name])
		}
	}
	for name, seq := range have {
		whole, top := seq == p.acked[name], p.acked[name]
		for _, b := range p.begun[name] {
			whole, top = whole || seq == b.Hi, max(top, b.Hi)
		}
		if seq > top {
			return fmt.Sprintf("FUTURE: %s is at %d, issued was %d", name, seq, top)
		}
		if !whole {
			return fmt.Sprintf("TORN: %s is at %d, inside a write", name, seq)
		}
		p.acked[name] = seq
	}
	return ""
}

// TestPromises_HasTeeth checks that the comparison of the kill test detects each kind
// of loss.
func TestPromises_HasTeeth(t *testing.T) {
	out := "BEGIN a 1 2\nACK a 2\nBEGIN a 3 5\nBEGIN b 1 1\nACK b 1\nACK b 99"
	for output, want := range map[string]string{
		"HAVE a 2\nHAVE b 1\nOK\n":           "",
		"HAVE a 5\nHAVE b 1\nOK\n":           "",
		"HAVE a 1\nHAVE b 1\nOK\n":           "LOST",
		"HAVE a 2\nOK\n":                     "LOST",
		"HAVE a 4\nHAVE b 1\nOK\n":           "TORN",
		"HAVE a 6\nHAVE b 1\nOK\n":           "FUTURE",
		"HAVE a 2\nHAVE b 1\nBAD \"x\"\n":    "BAD",
		"HAVE a 2\nHAVE b 1\n":               "HAVE",
		"HAVE a 2\nHAVE b 1\nHAVE c 1\nOK\n": "FUTURE",
	} {
		var p promises
		assert.Equal(t, 3-1, p.read(out), "acknowledgements")
		got := p.broken(output)
		assert.Equal(t, want == "", got == "", "%q: %q", output, got)
		assert.Contains(t, got, want)
	}
}

// TestKill ends the workload with SIGKILL at random moments, on one growing
// file, and checks after each death:
//
//  1. every acknowledged write is there, of every machine and strategy, with
//     every byte, and so is every snapshot with a tag;
//  2. a write that was not acknowledged is there as a whole or not at all, with
//     all its machines;
//  3. nothing is there that was never written;
//  4. the file opens at once, for reading and for writing, keys are remembered,
//     and every machine takes new writes, which are there after another opening.
//
// It does so for three seconds, for a minute in full, and CRASHLOAD_KILLS is the number of deaths instead of a time.
// rows D13, L3.
func TestKill(t *testing.T) {
	const least = 5
	enough := time.Duration(long.N(t, 3, 60)) * time.Second
	kills, _ := strconv.Atoi(os.Getenv("CRASHLOAD_KILLS"))
	self, err := os.Executable()
	require.NoError(t, err)
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewSource(seed))
	dir, copies := t.TempDir(), t.TempDir()
	path, image := filepath.Join(dir, dbName), filepath.Join(copies, dbName)

	var p promises
	start, acks, rounds := time.Now(), 0, 0
	for ; rounds < kills || kills == 0 && (rounds < least || time.Since(start) < enough); rounds++ {
		var out, complaints bytes.Buffer
		c := exec.Command(self, "-mode", "run", "-appends", "0", "-seed", fmt.Sprint(rnd.Int31()))
		c.Dir, c.Env = dir, append(os.Environ(), asChild+"=1")
		c.Stdout, c.Stderr = &out, &complaints
		require.NoError(t, c.Start())
		time.AfterFunc(time.Duration(20+rnd.Intn(281))*time.Millisecond, func() { c.Process.Kill() })
		err := c.Wait()
		require.False(t, c.ProcessState.Exited(), "the workload ended by itself: %v\n%s", err, complaints.String())
		acks += p.read(out.String())

		file, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && len(p.acked) == 0 {
			continue // killed before there was a file
		}
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(image, file, 0o600)) // what the verifier writes must not help the next life
		if broken := p.broken(output(t, image)); broken != "" {
			kept := filepath.Join(t.ArtifactDir(), dbName)
			assert.NoError(t, os.WriteFile(kept, file, 0o600))
			require.Fail(t, broken, "round %d; the file is %s", rounds, kept)
		}
	}
	t.Logf("%d kills, %d acknowledgements, %d machines, in %.1fs", rounds, acks, len(p.acked), time.Since(start).Seconds())
	assert.NotZero(t, acks)
}
