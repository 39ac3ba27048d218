package savepoint

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// retryQuarantined is how long a machine that could not be rebuilt is not tried
// again.
const retryQuarantined = 10 * time.Second

// quarantine holds the machines that could not be rebuilt. It lives in memory:
// reopening the file asks the file again.
type quarantine struct {
	mu  sync.Mutex
	all map[quarantineKey]*quarantineEntry
}

type quarantineKey struct{ kind, id string }

type quarantineEntry struct {
	err   *QuarantineError
	tried time.Time // on the monotonic clock
}

func (q *quarantine) init() { q.all = map[quarantineKey]*quarantineEntry{} }

// refuse answers the cause while a machine is not to be tried again.
func (q *quarantine) refuse(k *kind, id string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.all[quarantineKey{k.name, id}]
	if w == nil || time.Since(w.tried) >= retryQuarantined {
		return nil
	}
	return w.err
}

// add sets a machine aside.
func (q *quarantine) add(k *kind, id string, cause error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	key := quarantineKey{k.name, id}
	w := q.all[key]
	if w == nil {
		w = &quarantineEntry{err: &QuarantineError{Kind: k.name, ID: id, Since: time.Now()}}
		q.all[key] = w
	}
	w.err = &QuarantineError{Kind: k.name, ID: id, Since: w.err.Since, Cause: cause}
	w.tried = time.Now()
	return w.err
}

// remove lets a machine back in.
func (q *quarantine) remove(k *kind, id string) {
	q.mu.Lock()
	delete(q.all, quarantineKey{k.name, id})
	q.mu.Unlock()
}

// removeKind lets all machines of a kind back in.
func (q *quarantine) removeKind(name string) {
	q.mu.Lock()
	for key := range q.all {
		if key.kind == name {
			delete(q.all, key)
		}
	}
	q.mu.Unlock()
}

// Quarantined lists the machines that could not be rebuilt, with the cause, in
// the order of kind and id. They answer ErrQuarantined until [Store.Recover],
// [Store.Purge] or a new [Register]; each is tried again at most every ten
// seconds. The list lives in memory.
func (db *DB) Quarantined() []*QuarantineError {
	db.quarantine.mu.Lock()
	defer db.quarantine.mu.Unlock()
	out := make([]*QuarantineError, 0, len(db.quarantine.all))
	for _, w := range db.quarantine.all {
		out = append(out, w.err)
	}
	slices.SortFunc(out, func(a, b *QuarantineError) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	return out
}
