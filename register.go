package savepoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/codec"
	"github.com/liap-tui/savepoint/internal/record"
)

// KindError says why a kind cannot be registered. It lists all reasons that were found.
type KindError struct {
	Kind     string
	Problems []string
}

func (e *KindError) Error() string {
	return fmt.Sprintf("savepoint: kind %q cannot be registered: %s", e.Kind, strings.Join(e.Problems, "; "))
}

// kindRegister holds the registered kinds and keeps what the file knows of each kind
// in a note.
type kindRegister struct {
	eng      engine.Engine
	setNote  func(ctx context.Context, name string, value []byte) error
	log      *slog.Logger
	readOnly bool // notes are read and compared, but not written

	mu     sync.Mutex // guards byName and the notes
	byName map[string]*registered
}

// registered is a kind and its Store.
type registered struct {
	kind  *kind
	store any // *Store[S]
}

func (r *kindRegister) init(db *DB) {
	r.eng, r.setNote, r.log, r.readOnly = db.eng, db.setNote, db.log, db.opt.ReadOnly
	r.byName = map[string]*registered{}
}

// find returns the registered kind of a name, or nil.
func (r *kindRegister) find(name string) *kind {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.byName[name]; known != nil {
		return known.kind
	}
	return nil
}

// named returns the registered kinds with these names, or all of them if there are
// no names. One that is not registered is an error.
func (r *kindRegister) named(names []string) (out []*kind, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		known := r.byName[name]
		if known == nil {
			return nil, fmt.Errorf("savepoint: kind %q is not registered", name)
		}
		out = append(out, known.kind)
	}
	if len(names) == 0 {
		for _, known := range r.byName {
			out = append(out, known.kind)
		}
	}
	return out, nil
}

// kindNote is what the file knows of a kind.
type kindNote struct {
	Number  uint32
	Version uint64            // the highest version that was registered
	State   string            // shape of the state under that version
	Events  map[string]string // shape of each event that was ever registered
	Last    map[string]uint64 // the last version that each event was registered with
}

// Register makes a kind known to the database and returns the Store for its machines. A
// kind must be registered before its machines can be used, after each Open.
//
// It returns a *KindError with all reasons why the kind cannot be registered: fields of
// the state or of an event that its encoding would lose; one type under two names; a name
// that is the library's, or that another type was registered with; events that the file
// has and the kind lacks; migrations that are listed twice, form a cycle or leave a gap;
// machines of an older version in the file that no migrations lead from. It returns
// ErrNewer if the file has a newer version of the kind.
//
// A kind may be registered again with the same types: the same Store is returned, and the
// kind's machines leave quarantine.
func Register[S any](db *DB, k Kind[S]) (*Store[S], error) {
	if db.closed.Load() {
		return nil, ErrClosed
	}
	u, problems := erase(&k)
	if len(problems) > 0 {
		sort.Strings(problems)
		return nil, &KindError{Kind: k.Name, Problems: problems}
	}
	orDefault(&u.strategy, db.opt.Strategy)
	u.policy = u.policy.or(db.opt.Snapshot)
	u.retention = u.retention.or(db.opt.Retention)
	if u.retention.ArchiveAfter > 0 && db.opt.Archive == nil {
		return nil, &KindError{Kind: k.Name, Problems: []string{"Retention.ArchiveAfter is set, and there is no Options.Archive to go to"}}
	}
	u.machines = map[string]*machine{}

	db.kinds.mu.Lock()
	defer db.kinds.mu.Unlock()
	if old := db.kinds.byName[k.Name]; old != nil {
		if p := difference(old.kind, u); p != "" {
			return nil, &KindError{Kind: k.Name, Problems: []string{p}}
		}
		db.quarantine.removeKind(k.Name)
		return old.store.(*Store[S]), nil
	}
	if err := db.kinds.compareAndNote(u); err != nil {
		return nil, err
	}
	s := &Store[S]{db: db, kind: u}
	db.kinds.byName[k.Name] = &registered{kind: u, store: s}
	if u.retention.on() && !db.opt.ReadOnly && !db.retention.begun && db.opt.RetainEvery > 0 && !db.closed.Load() {
		db.retention.begun = true
		db.tasks.Go(db.retainInBackground)
	}
	if !db.report.Clean && !db.opt.NoRecoverAll && !db.opt.ReadOnly && !db.closed.Load() {
		db.tasks.Go(func() { db.recoverInBackground(u) })
	}
	return s, nil
}

// difference says how a second registration differs from the first one, k.
func difference(k, u *kind) string {
	if k.state != u.state {
		return fmt.Sprintf("it is registered with the state %s, not %s", k.state, u.state)
	}
	if k.version != u.version {
		return fmt.Sprintf("it is registered with version %s, not %s", k.version, u.version)
	}
	for name, t := range u.types {
		if old := k.types[name]; old == nil || old.typ != t.typ {
			return fmt.Sprintf("it is registered with other types of events: %q", name)
		}
	}
	if len(k.types) != len(u.types) {
		return "it is registered with more events"
	}
	return ""
}

// compareAndNote compares a kind with what the file knows of it, sets the kind's number
// and stores what has changed.
func (r *kindRegister) compareAndNote(u *kind) error {
	ctx := context.Background()
	b, err := r.eng.Note(ctx, kindNoteName(u.name))
	if err != nil {
		return fmt.Errorf("register %q: %w", u.name, err)
	}
	n := kindNote{Events: map[string]string{}, Last: map[string]uint64{}}
	if b != nil {
		if err := codec.Unmarshal(b, &n); err != nil {
			return fmt.Errorf("%w: register %q: the note of the kind: %w", ErrCorrupt, u.name, err)
		}
	}
	n.fillLast()
	changed := b == nil
	if n.Number == 0 {
		if n.Number, err = r.nextNumber(ctx); err != nil {
			return fmt.Errorf("register %q: %w", u.name, err)
		}
	}
	u.number = n.Number
	if old := unpackVersion(n.Version); old.Compare(u.version) > 0 {
		return fmt.Errorf("register %q: %w: the file has version %s of the kind, the program declares %s", u.name, ErrNewer, old, u.version)
	}
	if err := r.checkVersions(ctx, u); err != nil {
		return err
	}
	if err := r.checkEvents(ctx, u, &n); err != nil {
		return err
	}
	sameVersion := n.Version == u.packed
	shape := codec.Shape(u.state)
	if sameVersion && n.State != shape && n.State != "" {
		r.log.Warn("the state's shape changed under the same version", "kind", u.name, "version", u.version)
	}
	changed = changed || n.State != shape || !sameVersion
	n.State, n.Version = shape, u.packed
	for name, t := range u.types {
		shape := codec.Shape(t.typ)
		if old, ok := n.Events[name]; ok && sameVersion && old != shape && old != "" {
			r.log.Warn("an event's shape changed under the same version", "kind", u.name, "event", name, "version", u.version)
		}
		changed = changed || n.Events[name] != shape || n.Last[name] != u.packed
		n.Events[name], n.Last[name] = shape, u.packed
	}
	if !changed || r.readOnly {
		return nil
	}
	if b, err = codec.Marshal(&n); err == nil {
		err = r.setNote(ctx, kindNoteName(u.name), b)
	}
	if err != nil {
		return fmt.Errorf("register %q: %w", u.name, err)
	}
	return nil
}

// fillLast fills in Last where an older library did not write it: an event was
// registered as long as the kind was.
func (n *kindNote) fillLast() {
	if n.Last == nil {
		n.Last = map[string]uint64{}
	}
	for name := range n.Events {
		if n.Last[name] == 0 {
			n.Last[name] = n.Version
		}
	}
}

// checkVersions refuses a kind whose version is older than that of machines in the file,
// or that no migrations lead to from theirs.
func (r *kindRegister) checkVersions(ctx context.Context, u *kind) error {
	counts, err := r.eng.Versions(ctx, u.number)
	if err != nil {
		return fmt.Errorf("register %q: %w", u.name, err)
	}
	var problems []string
	for _, v := range inOrder(counts) {
		_, err := u.path(unpackVersion(v))
		if errors.Is(err, ErrNewer) {
			return fmt.Errorf("register %q: %w: the file has %d machines of version %s of the kind, the program declares %s", u.name, ErrNewer, counts[v], unpackVersion(v), u.version)
		}
		if err != nil {
			problems = append(problems, fmt.Sprintf("the file has %d machines of version %s, the program declares %s, and nothing leads from one to the other: list migrations, or keep the major version where fields are only added", counts[v], unpackVersion(v), u.version))
		}
	}
	if problems != nil {
		return &KindError{Kind: u.name, Problems: problems}
	}
	return nil
}

// inOrder returns the versions that were counted, oldest first.
func inOrder(counts map[uint64]int64) []uint64 { return slices.Sorted(maps.Keys(counts)) }

// lowerVersion makes to the highest version that the file knows of a kind, so that a
// program of that version can register it. The shapes of its types are forgotten.
func (r *kindRegister) lowerVersion(ctx context.Context, k *kind, to Version) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, err := r.eng.Note(ctx, kindNoteName(k.name))
	if err != nil {
		return err
	}
	var n kindNote
	if err := codec.Unmarshal(b, &n); err != nil {
		return fmt.Errorf("%w: the note of the kind: %w", ErrCorrupt, err)
	}
	n.Version, n.State = to.pack(), ""
	for name := range n.Events {
		n.Events[name] = ""
	}
	if b, err = codec.Marshal(&n); err != nil {
		return err
	}
	return r.setNote(ctx, kindNoteName(k.name), b)
}

// nextNumber returns the number of a new kind. The counter is stored before it is used,
// so that no number is used twice.
func (r *kindRegister) nextNumber(ctx context.Context) (uint32, error) {
	var n uint32
	b, err := r.eng.Note(ctx, noteKinds)
	if err != nil {
		return 0, err
	}
	if b != nil {
		if err := codec.Unmarshal(b, &n); err != nil {
			return 0, fmt.Errorf("%w: the counter of kinds: %w", ErrCorrupt, err)
		}
	}
	n++
	if r.readOnly {
		return n, nil
	}
	if b, err = codec.Marshal(n); err != nil {
		return 0, err
	}
	return n, r.setNote(ctx, noteKinds, b)
}

// checkEvents refuses a kind that lacks an event of which the file has records, unless
// migrations rename or drop the event. Only where an event was registered before and is
// lacking without a migration does it have to read all records of the kind.
func (r *kindRegister) checkEvents(ctx context.Context, u *kind, n *kindNote) error {
	counts := map[string]int{}
	for name := range n.Events {
		if u.types[name] == nil && !u.outgrown(name, n.Last[name]) {
			counts[name] = 0
		}
	}
	if len(counts) == 0 {
		return nil
	}
	var keys []string
	prefix := keyOf(u.name, "")
	if err := r.eng.Scan(ctx, prefix, "", 0, func(key string, _ engine.Head) error {
		keys = append(keys, key)
		return nil
	}); err != nil {
		return fmt.Errorf("register %q: %w", u.name, err)
	}
	there := map[string]bool{}
	var env record.Envelope
	for _, key := range keys {
		if _, err := r.eng.Load(ctx, key, engine.LoadRange{Events: true, To: engine.All}, func(it engine.Item) error {
			if it.Err == nil && env.Parse(it.Bytes, &env) == nil {
				if _, lost := counts[env.Name]; lost {
					there[env.Name] = true
					if !u.takes(env.Version, env.Name) {
						counts[env.Name]++
					}
				}
			}
			return nil
		}); err != nil && !errors.Is(err, engine.ErrDamaged) {
			return fmt.Errorf("register %q: %w", u.name, err)
		}
	}
	var problems []string
	for name, c := range counts {
		if c > 0 {
			problems = append(problems, fmt.Sprintf("the file has %d records of event %q, which the kind lacks: list it, or migrations that rename or drop it", c, name))
		} else if !there[name] {
			delete(n.Events, name)
			delete(n.Last, name)
		}
	}
	if len(problems) == 0 {
		return nil
	}
	sort.Strings(problems)
	return &KindError{Kind: u.name, Problems: problems}
}
