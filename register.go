package savepoint

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/codec"
	"github.com/liap-tui/savepoint/internal/record"
)

// KindError says why a kind cannot be registered.
type KindError struct {
	Kind     string
	Problems []string // each a sentence
}

func (e *KindError) Error() string {
	return fmt.Sprintf("savepoint: kind %q cannot be registered: %s", e.Kind, strings.Join(e.Problems, "; "))
}

// registered is a kind and its Store.
type registered struct {
	kind  *kind
	store any // *Store[S]
}

// kindNote is what the file knows about a kind.
type kindNote struct {
	Number  uint32
	Version uint64            // the highest that was registered
	State   string            // shape of the state under that version
	Events  map[string]string // shape of each event ever declared
	Last    map[string]uint64 // the version that each was declared with last
}

func kindNoteName(name string) string { return "kind/" + name }

// Register tells the database about a kind and gives the Store through which
// its machines are used. It answers a *KindError with every reason at once: a
// state or an event with fields that would be lost in its encoding, one type
// under two names, names that are the library's, events that the file has and
// the kind lacks, a name that another type registered before, migrations that
// are there twice, go in a circle or leave a gap, an older version in the file
// that no migrations lead from. It answers ErrNewer if the file has a newer
// version of the kind.
//
// A kind may be registered again with the same types; the same Store comes
// back, and its machines leave quarantine.
func Register[S any](db *DB, k Kind[S]) (*Store[S], error) {
	if db.closed.Load() {
		return nil, ErrClosed
	}
	u := erase(&k)
	if len(u.problems) > 0 {
		sort.Strings(u.problems)
		return nil, &KindError{Kind: k.Name, Problems: u.problems}
	}
	orDefault(&u.strategy, db.opt.Strategy)
	u.policy = u.policy.or(db.opt.Snapshot)
	u.retention = u.retention.or(db.opt.Retention)
	if u.retention.ArchiveAfter > 0 && db.opt.Archive == nil {
		return nil, &KindError{Kind: k.Name, Problems: []string{"Retention.ArchiveAfter is set, and there is no Options.Archive to go to"}}
	}
	u.machines = map[string]*machine{}

	db.mu.Lock()
	defer db.mu.Unlock()
	if old := db.kinds[k.Name]; old != nil {
		if p := old.kind.differs(u); p != "" {
			return nil, &KindError{Kind: k.Name, Problems: []string{p}}
		}
		db.quarantine.removeKind(k.Name)
		return old.store.(*Store[S]), nil
	}
	if err := db.note(u); err != nil {
		return nil, err
	}
	s := &Store[S]{db: db, kind: u}
	db.kinds[k.Name] = &registered{kind: u, store: s}
	if u.retention.on() && !db.opt.ReadOnly && !db.retention.begun && db.opt.RetainEvery > 0 && !db.closed.Load() {
		db.retention.begun = true
		db.tasks.Go(db.retainInBackground)
	}
	if !db.report.Clean && !db.opt.NoRecoverAll && !db.opt.ReadOnly && !db.closed.Load() {
		db.tasks.Go(func() { db.recoverInBackground(u) })
	}
	return s, nil
}

// differs says how a second registration is not the first one.
func (k *kind) differs(u *kind) string {
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

// note compares the kind with what the file knows, and brings that up to date.
func (db *DB) note(u *kind) error {
	ctx := context.Background()
	b, err := db.eng.Note(ctx, kindNoteName(u.name))
	if err != nil {
		return fmt.Errorf("register %q: %w", u.name, err)
	}
	n := kindNote{Events: map[string]string{}, Last: map[string]uint64{}}
	if b != nil {
		if err := codec.Unmarshal(b, &n); err != nil {
			return fmt.Errorf("%w: register %q: the note of the kind: %w", ErrCorrupt, u.name, err)
		}
	}
	n.date()
	changed := b == nil
	if n.Number == 0 {
		if n.Number, err = db.nextKind(ctx); err != nil {
			return fmt.Errorf("register %q: %w", u.name, err)
		}
	}
	u.number = n.Number
	if old := unpackVersion(n.Version); old.Compare(u.version) > 0 {
		return fmt.Errorf("register %q: %w: the file has version %s of the kind, the program declares %s", u.name, ErrNewer, old, u.version)
	}
	if err := db.stranded(ctx, u); err != nil {
		return err
	}
	if err := db.lacking(ctx, u, &n); err != nil {
		return err
	}
	warn := n.Version == u.version.pack()
	shape := codec.Shape(u.state)
	if warn && n.State != shape && n.State != "" {
		db.log.Warn("the state's shape changed under the same version", "kind", u.name, "version", u.version)
	}
	changed = changed || n.State != shape || n.Version != u.version.pack()
	n.State, n.Version = shape, u.version.pack()
	for name, t := range u.types {
		shape := codec.Shape(t.typ)
		if old, ok := n.Events[name]; ok && warn && old != shape && old != "" {
			db.log.Warn("an event's shape changed under the same version", "kind", u.name, "event", name, "version", u.version)
		}
		changed = changed || n.Events[name] != shape || n.Last[name] != u.packed
		n.Events[name], n.Last[name] = shape, u.packed
	}
	if !changed || db.opt.ReadOnly {
		return nil
	}
	if b, err = codec.Marshal(&n); err == nil {
		err = db.setNote(ctx, kindNoteName(u.name), b)
	}
	if err != nil {
		return fmt.Errorf("register %q: %w", u.name, err)
	}
	return nil
}

// date fills in what a note does not say: an event was there as long as the kind.
func (n *kindNote) date() {
	if n.Last == nil {
		n.Last = map[string]uint64{}
	}
	for name := range n.Events {
		if n.Last[name] == 0 {
			n.Last[name] = n.Version
		}
	}
}

// stranded refuses a kind of an older version than machines have, or one that no
// migrations lead to from theirs.
func (db *DB) stranded(ctx context.Context, u *kind) error {
	counts, err := db.eng.Versions(ctx, u.number)
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

// inOrder are the versions that were counted, oldest first.
func inOrder(counts map[uint64]int64) []uint64 { return slices.Sorted(maps.Keys(counts)) }

// lowerNote makes version to the highest that the file knows of the kind. What
// its types look like is not known.
func (db *DB) lowerNote(ctx context.Context, k *kind, to Version) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	b, err := db.eng.Note(ctx, kindNoteName(k.name))
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
	return db.setNote(ctx, kindNoteName(k.name), b)
}

// nextKind gives a kind its number. The counter is written first: a number is
// never given twice.
func (db *DB) nextKind(ctx context.Context) (uint32, error) {
	var n uint32
	b, err := db.eng.Note(ctx, "kinds")
	if err != nil {
		return 0, err
	}
	if b != nil {
		if err := codec.Unmarshal(b, &n); err != nil {
			return 0, fmt.Errorf("%w: the counter of kinds: %w", ErrCorrupt, err)
		}
	}
	n++
	if db.opt.ReadOnly {
		return n, nil
	}
	if b, err = codec.Marshal(n); err != nil {
		return 0, err
	}
	return n, db.setNote(ctx, "kinds", b)
}

// setNote is the engine's SetNote, never during a Commit.
func (db *DB) setNote(ctx context.Context, name string, value []byte) error {
	db.storing.Lock()
	defer db.storing.Unlock()
	return db.eng.SetNote(ctx, name, value)
}

// lacking refuses a kind without an event that the file has records of, unless
// migrations rename or drop it. Only a kind that lost an event otherwise makes
// the file be searched.
func (db *DB) lacking(ctx context.Context, u *kind, n *kindNote) error {
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
	if err := db.eng.Scan(ctx, prefix, "", 0, func(key string, _ engine.Head) error {
		keys = append(keys, key)
		return nil
	}); err != nil {
		return fmt.Errorf("register %q: %w", u.name, err)
	}
	there := map[string]bool{}
	var env record.Envelope
	for _, key := range keys {
		if _, err := db.eng.Load(ctx, key, engine.LoadRange{Events: true, To: engine.All}, func(it engine.Item) error {
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
