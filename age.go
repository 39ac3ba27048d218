package savepoint

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/liap-tui/savepoint/internal/codec"
)

// ages knows how old records are, without a wall clock: it notes now and then
// how far the file has come, and how long it had been open until then. What was
// there at such a mark is at least as old as the mark. Nothing becomes old
// because a clock jumps, and the time in which nobody has the file open does not
// count.
type ages struct {
	mu     sync.Mutex
	loaded bool
	before time.Duration // that the file was open, until this process
	start  time.Time     // of this process; only its monotonic part is used
	marks  []ageMark     // ascending
}

// ageMark says that the records up to Pos were there when the file had been open
// for Open, in all.
type ageMark struct {
	Pos  uint64
	Open time.Duration
}

// ageNote is how ages are stored.
type ageNote struct {
	Open  time.Duration
	Marks []ageMark
}

const agesNote = "ages"

// maxAgeMarks bounds the marks. With fewer of them a record counts as younger.
const maxAgeMarks = 512

// load reads what earlier processes knew.
func (a *ages) load(ctx context.Context, db *DB) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.loaded {
		return nil
	}
	b, err := db.eng.Note(ctx, agesNote)
	if err != nil {
		return err
	}
	var n ageNote
	if b != nil {
		if err := codec.Unmarshal(b, &n); err != nil {
			db.log.Warn("ages begin anew: nothing is older than this process", "error", err)
			n = ageNote{}
		}
	}
	a.before, a.marks, a.loaded = max(0, n.Open), n.Marks, true
	return nil
}

func (a *ages) open() time.Duration { return a.before + time.Since(a.start) }

// mark notes that the records up to pos are there.
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
			if i%2 == 1 { // the later one of two: nothing seems older than it is
				thin = append(thin, m)
			}
		}
		a.marks = thin
	}
}

// older is the last position that is surely older than d, 0 if none is.
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

// save stores the ages.
func (a *ages) save(ctx context.Context, db *DB) error {
	a.mu.Lock()
	n := ageNote{Open: a.open(), Marks: a.marks}
	b, err := codec.Marshal(&n)
	loaded := a.loaded
	a.mu.Unlock()
	if err == nil && loaded {
		err = db.setNote(ctx, agesNote, b)
	}
	if err != nil {
		return fmt.Errorf("store the ages: %w", err)
	}
	return nil
}
