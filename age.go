package savepoint

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/liap-tui/savepoint/internal/codec"
)

// ages estimates how old records are without a wall clock. Now and then it notes the
// newest position, and for how long the file has been open in total at that time. Records
// up to that position are at least as old as the note. A clock that jumps makes nothing
// older, and the time in which the file is not open does not count.
type ages struct {
	mu     sync.Mutex
	loaded bool
	before time.Duration // for how long the file was open before this process
	start  time.Time     // of this process; only its monotonic part is used
	marks  []ageMark     // ascending
}

// ageMark says that the records up to Pos were stored when the file had been open for
// Open in total.
type ageMark struct {
	Pos  uint64
	Open time.Duration
}

// ageNote is the stored form of ages.
type ageNote struct {
	Open  time.Duration
	Marks []ageMark
}

// maxAgeMarks is how many marks are kept. Fewer marks make records count as younger.
const maxAgeMarks = 512

// load loads the marks of earlier processes, once.
func (a *ages) load(ctx context.Context, db *DB) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.loaded {
		return nil
	}
	b, err := db.eng.Note(ctx, noteAges)
	if err != nil {
		return err
	}
	var n ageNote
	if b != nil {
		if err := codec.Unmarshal(b, &n); err != nil {
			db.log.Warn("the ages of records cannot be read: none counts as older than this process", "error", err)
			n = ageNote{}
		}
	}
	a.before, a.marks, a.loaded = max(0, n.Open), n.Marks, true
	return nil
}

// open returns for how long the file has been open in total.
func (a *ages) open() time.Duration { return a.before + time.Since(a.start) }

// mark notes that the records up to pos are stored.
func (a *ages) mark(pos uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.marks); pos == 0 || n > 0 && a.marks[n-1].Pos >= pos {
		return
	}
	a.marks = append(a.marks, ageMark{pos, a.open()})
	if len(a.marks) > maxAgeMarks {
		thin := a.marks[:0]
		for i, m := range a.marks {
			if i%2 == 1 { // keep the later one of each two: no record counts as older than it is
				thin = append(thin, m)
			}
		}
		a.marks = thin
	}
}

// older returns the last position that is known to be older than d, or 0.
func (a *ages) older(d time.Duration) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	limit := a.open() - d
	n, _ := slices.BinarySearchFunc(a.marks, limit, func(m ageMark, limit time.Duration) int {
		if m.Open <= limit {
			return -1
		}
		return 1
	})
	if n == 0 {
		return 0
	}
	return a.marks[n-1].Pos
}

// save stores the marks.
func (a *ages) save(ctx context.Context, db *DB) error {
	a.mu.Lock()
	n := ageNote{Open: a.open(), Marks: a.marks}
	b, err := codec.Marshal(&n)
	loaded := a.loaded
	a.mu.Unlock()
	if err == nil && loaded {
		err = db.setNote(ctx, noteAges, b)
	}
	if err != nil {
		return fmt.Errorf("store the ages: %w", err)
	}
	return nil
}
