package savepoint

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// retryQuarantined is the time from a failed rebuild of a machine to the next try.
const retryQuarantined = 10 * time.Second

// quarantine holds the machines that could not be rebuilt. It is in memory only:
// after the file was opened again each machine is tried again.
type quarantine struct {
	mu  sync.Mutex
	all map[quarantineKey]*quarantineEntry
}

type quarantineKey struct{ kind, id string }

type quarantineEntry struct {
	err   *QuarantineError
	tried time.Time // when the last rebuild failed; its monotonic part is used
}

func (q *quarantine) init() { q.all = map[quarantineKey]*quarantineEntry{} }

// refuse returns a *QuarantineError as long as a machine must not be tried again.
func (q *quarantine) refuse(k *kind, id string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.all[quarantineKey{k.name, id}]
	if e == nil || time.Since(e.tried) >= retryQuarantined {
		return nil
	}
	return e.err
}

// add puts a machine into quarantine, or notes that one in it failed again, and
// returns the *QuarantineError.
func (q *quarantine) add(k *kind, id string, cause error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	key := quarantineKey{k.name, id}
	e := q.all[key]
	if e == nil {
		e = &quarantineEntry{err: &QuarantineError{Kind: k.name, ID: id, Since: time.Now()}}
		q.all[key] = e
	}
	e.err = &QuarantineError{Kind: k.name, ID: id, Since: e.err.Since, Cause: cause}
	e.tried = time.Now()
	return e.err
}

// remove takes a machine out of quarantine, if it is in it.
func (q *quarantine) remove(k *kind, id string) {
	q.mu.Lock()
	delete(q.all, quarantineKey{k.name, id})
	q.mu.Unlock()
}

// removeKind takes all machines of a kind out of quarantine.
func (q *quarantine) removeKind(name string) {
	q.mu.Lock()
	for key := range q.all {
		if key.kind == name {
			delete(q.all, key)
		}
	}
	q.mu.Unlock()
}

// Quarantined returns the machines that could not be rebuilt, each with its cause,
// in the order of kind and id. Calls that need the state of such a machine return
// an error that matches ErrQuarantined; at most every ten seconds one of them
// tries the rebuild again. [Store.Recover], [Store.Purge] and [Register] end a
// quarantine. The list is in memory: it is empty after Open.
func (db *DB) Quarantined() []*QuarantineError {
	db.quarantine.mu.Lock()
	defer db.quarantine.mu.Unlock()
	out := make([]*QuarantineError, 0, len(db.quarantine.all))
	for _, e := range db.quarantine.all {
		out = append(out, e.err)
	}
	slices.SortFunc(out, func(a, b *QuarantineError) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	return out
}
