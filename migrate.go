package savepoint

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/liap-tui/savepoint/internal/codec"
	"github.com/liap-tui/savepoint/internal/record"
)

// Doc is a state or an event as a document: nil, bool, int64, float64, string,
// []byte, time.Time, []any, map[string]any and map[int64]any. Migrations get and
// return it; the kind of package document has it as its state. When a Doc is
// stored, other numbers and maps are converted to these types.
type Doc map[string]any

// Migration is one change between two versions of a kind: of its state, or of one
// of its events. All migrations with the same From and To belong together.
//
// Up and Down get a document of their own. They may change it and return it, or
// return another one. Numbers in it are int64 and float64, times are in UTC, maps
// have string or int64 keys. The functions are called from several goroutines and
// more than once for the same document, so they must depend on nothing else: no
// clock, no random source. If one returns an error or panics, the caller gets a
// [*MigrationError] and nothing is written. [StructMigration] makes them from
// functions of structs.
//
// The migrations of a state and those of its events must agree. Let apply(s, e) be
// the state that event e makes of state s, and up what the migrations make of a
// state or of an event. Then for every s and e of the older version
//
//	up(apply(s, e)) = apply(up(s), up(e))
//
// where the older program applies on the left, and this one on the right. For an
// event that is dropped, up(apply(s, e)) = up(s). The library computes the state at
// an old point in one of these two ways, depending on which snapshots are kept, so
// both must lead to the same state.
//
// Within a major version fields may be added without a migration, if none of them
// has to be there. Where no migration starts at the version that wrote something,
// it is read unchanged: as the next version of the same major version at which a
// migration starts or, without such a version, as the kind's version.
type Migration struct {
	// From and To are the versions between which the change is. To is the newer one.
	From, To Version
	// Event is the name of the event in From. Empty: the change is of the state.
	Event string
	// Up makes the document of version To from that of version From. For a state it
	// is required.
	Up func(Doc) (Doc, error)
	// Down is the way back, for [Store.Migrate] to an older version and for
	// [CheckMigration]. Events must not have one: stored events are never changed.
	Down func(Doc) (Doc, error)
	// Rename is the name of the event in To; empty: it keeps its name.
	Rename string
	// Drop says that To does not have the event. Its records are skipped.
	Drop bool
}

func (m *Migration) String() string {
	if m.Event == "" {
		return fmt.Sprintf("migration %s to %s", m.From, m.To)
	}
	return fmt.Sprintf("migration %s to %s of event %q", m.From, m.To, m.Event)
}

// hop is everything that changes between two versions.
type hop struct {
	from, to Version
	state    *Migration            // nil: the state stays as it is
	events   map[string]*Migration // by the name in from
}

// migrations are the hops of a kind.
type migrations struct {
	hops   map[Version][]*hop // by from, then in the order of to
	starts []Version          // the keys of hops, in order
}

// collectMigrations returns the hops that a list of migrations makes, and calls
// problem for each migration that is not valid.
func collectMigrations(list []Migration, problem func(string, ...any)) *migrations {
	g := &migrations{hops: map[Version][]*hop{}}
	list = slices.Clone(list) // the caller may change its own
	for i := range list {
		m := &list[i]
		if p := m.problem(); p != "" {
			problem("%s: %s", m, p)
			continue
		}
		h := g.hop(m.From, m.To)
		switch {
		case m.Event == "" && h.state != nil || h.events[m.Event] != nil:
			problem("%s is there twice", m)
		case m.Event == "":
			h.state = m
		default:
			h.events[m.Event] = m
		}
	}
	for _, hops := range g.hops {
		slices.SortFunc(hops, func(a, b *hop) int { return a.to.Compare(b.to) })
	}
	g.starts = slices.SortedFunc(maps.Keys(g.hops), Version.Compare)
	return g
}

// problem returns what makes a migration invalid, empty if nothing does.
func (m *Migration) problem() string {
	switch {
	case m.From == Version{} || m.To == Version{}:
		return "it has no From or no To"
	case m.From == m.To:
		return "it leads nowhere"
	case m.Event == "" && (m.Rename != "" || m.Drop):
		return "Rename and Drop are of an event: set Event"
	case m.Event == "" && m.Up == nil:
		return "it has no Up"
	case m.Event == "":
		return ""
	case m.Event[0] == '_' || m.Rename != "" && m.Rename[0] == '_':
		return "names that begin with _ are the library's"
	case m.Down != nil:
		return "an event has no way down: stored events are never changed"
	case m.Drop && (m.Rename != "" || m.Up != nil):
		return "an event that is dropped has no Up and no Rename"
	case m.Rename == m.Event:
		return "it is renamed to itself"
	case !m.Drop && m.Rename == "" && m.Up == nil:
		return "it changes nothing: set Up, Rename or Drop"
	}
	return ""
}

// hop returns the hop between two versions, which it adds if need be.
func (g *migrations) hop(from, to Version) *hop {
	for _, h := range g.hops[from] {
		if h.to == to {
			return h
		}
	}
	h := &hop{from: from, to: to, events: map[string]*Migration{}}
	g.hops[from] = append(g.hops[from], h)
	return h
}

// readAs returns the version as which values of version v are read on the way to
// version to.
func (g *migrations) readAs(v, to Version) Version {
	if v == to || len(g.hops[v]) > 0 {
		return v
	}
	if i, _ := slices.BinarySearchFunc(g.starts, v, Version.Compare); i < len(g.starts) {
		if next := g.starts[i]; next.reads(v) && next.Compare(to) <= 0 {
			return next
		}
	}
	if to.reads(v) {
		return to
	}
	return v
}

// path returns the shortest way between two versions, which is empty where values are
// read unchanged. Of several equally short ways it takes the one with the oldest
// versions.
func (g *migrations) path(from, to Version) (path []*hop, ok bool) {
	type node struct {
		at       Version
		by       *hop // that leads to at
		previous int
	}
	nodes := []node{{at: g.readAs(from, to), previous: -1}}
	seen := map[Version]bool{nodes[0].at: true}
	for i := 0; i < len(nodes); i++ {
		if nodes[i].at == to {
			for j := i; nodes[j].by != nil; j = nodes[j].previous {
				path = append(path, nodes[j].by)
			}
			slices.Reverse(path)
			return path, true
		}
		for _, h := range g.hops[nodes[i].at] {
			if at := g.readAs(h.to, to); h.to.Compare(to) <= 0 && !seen[at] {
				seen[at] = true
				nodes = append(nodes, node{at, h, i})
			}
		}
	}
	return nil, false
}

// check calls problem for circles, for hops that do not lead to the kind's version
// to, and for events that get a name which the kind does not list.
func (g *migrations) check(to Version, lists func(event string) bool, problem func(string, ...any)) {
	for _, from := range g.starts {
		for _, h := range g.hops[from] {
			switch _, leads := g.path(h.to, to); {
			case h.to.Compare(from) < 0:
				if back, circle := g.path(h.to, from); circle {
					problem("migrations go in a circle: %s, back by %s to %s", versionsOf(back), from, h.to)
				} else {
					problem("migration %s to %s leads to an older version: give the way back as Down", from, h.to)
				}
			case h.to.Compare(to) > 0:
				problem("migration %s to %s leads beyond the kind's version %s", from, h.to, to)
			case !leads:
				problem("there is a gap: migration %s to %s ends at %s, and none leads from there to %s", from, h.to, h.to, to)
			default:
				g.checkEvents(h, to, lists, problem)
			}
		}
	}
}

// checkEvents calls problem for the events of a hop that the kind does not list.
func (g *migrations) checkEvents(h *hop, to Version, lists func(string) bool, problem func(string, ...any)) {
	rest, _ := g.path(h.to, to)
	for _, name := range slices.Sorted(maps.Keys(h.events)) {
		if last := renamed(append([]*hop{h}, rest...), name); last != "" && !lists(last) {
			problem("%s: in %s it is %q, an event that the kind does not list", h.events[name], to, last)
		}
	}
}

// renamed returns the name of an event after the hops of a path, empty if one of them
// drops it.
func renamed(path []*hop, name string) string {
	for _, h := range path {
		m := h.events[name]
		switch {
		case m == nil:
		case m.Drop:
			return ""
		case m.Rename != "":
			name = m.Rename
		}
	}
	return name
}

// versionsOf returns the versions of a path as text.
func versionsOf(path []*hop) string {
	if len(path) == 0 {
		return "no migrations"
	}
	s := path[0].from.String()
	for _, h := range path {
		s += " to " + h.to.String()
	}
	return s
}

// MigrationError is the failure of a migration. Nothing was written.
type MigrationError struct {
	Kind, ID string
	Seq      uint64 // the record of the event; of a state, the record right before it
	Event    string // its name in From; empty: the migration is of the state
	From, To Version
	Err      error // what Up or Down returned, a *PanicError, or why the kind refuses the result
}

func (e *MigrationError) Error() string {
	what := "the state"
	if e.Event != "" {
		what = fmt.Sprintf("event %q", e.Event)
	}
	return fmt.Sprintf("savepoint: migrate %s %.60q: %s at %d from version %s to %s: %v", e.Kind, e.ID, what, e.Seq, e.From, e.To, e.Err)
}

// Unwrap returns Err.
func (e *MigrationError) Unwrap() error { return e.Err }

// isProgramError reports whether err says that this program cannot read what is
// stored, although it is not damaged.
func isProgramError(err error) bool {
	var m *MigrationError
	return errors.Is(err, ErrNewer) || errors.Is(err, ErrNoMigration) || errors.As(err, &m)
}

// path returns the hops from a version to the kind's. The error matches ErrNewer or
// ErrNoMigration.
func (k *kind) path(from Version) ([]*hop, error) {
	switch c := cmp.Compare(from.pack(), k.packed); {
	case c == 0:
		return nil, nil
	case c > 0:
		return nil, fmt.Errorf("%w: it has version %s, this program has %s", ErrNewer, from, k.version)
	}
	path, ok := k.migrations.path(from, k.version)
	if !ok {
		return nil, fmt.Errorf("%w: kind %q from version %s to %s: list the migrations between them in Kind.Migrations", ErrNoMigration, k.name, from, k.version)
	}
	return path, nil
}

// upcasts reports whether migrations change what a version wrote.
func (k *kind) upcasts(version uint64) bool {
	if version == k.packed || len(k.migrations.starts) == 0 {
		return false
	}
	path, err := k.path(unpackVersion(version))
	return err == nil && len(path) > 0
}

// takes reports whether an event that a version stored is one that the kind lists,
// after migrations, or is dropped.
func (k *kind) takes(version uint64, event string) bool {
	path, err := k.path(unpackVersion(version))
	if err != nil {
		return errors.Is(err, ErrNewer) // the machine was rolled back; the newer program can read its history
	}
	last := renamed(path, event)
	return last == "" || k.types[last] != nil
}

// outgrown reports whether migrations rename or drop an event in every version up to
// last, the last one that had it.
func (k *kind) outgrown(event string, last uint64) bool {
	for _, v := range k.migrations.starts {
		if v.pack() < last && !k.takes(v.pack(), event) {
			return false
		}
	}
	return k.takes(last, event)
}

// CheckMigration tries a migration on a document, for the tests of the program that
// declares the migration. It returns an error unless Up makes the same document
// twice and Down, if there is one, makes d again from it. d is not changed.
func CheckMigration(m Migration, d Doc) error {
	if p := m.problem(); p != "" {
		return fmt.Errorf("%s: %s", &m, p)
	}
	if m.Up == nil { // Rename or Drop alone
		return nil
	}
	b, err := codec.Marshal(d)
	if err != nil {
		return fmt.Errorf("%s: the document: %w", &m, err)
	}
	up, err := twice(&m, b, (*Migration).up)
	if err != nil {
		return fmt.Errorf("%s: up: %w", &m, err)
	}
	if m.Down == nil {
		return nil
	}
	down, err := twice(&m, up, (*Migration).down)
	if err != nil {
		return fmt.Errorf("%s: down: %w", &m, err)
	}
	if how := differences(b, down); len(how) > 0 {
		return fmt.Errorf("%s: Up and then Down return another document: %s", &m, strings.Join(how, "; "))
	}
	return nil
}

// twice calls Up or Down two times and returns what it made, or an error if the two
// results differ.
func twice(m *Migration, b []byte, way func(*Migration, Doc) (Doc, error)) (out []byte, err error) {
	for range 2 {
		d, err := document(b)
		if err == nil {
			d, err = way(m, d)
		}
		if err != nil {
			return nil, err
		}
		again, err := codec.Marshal(d)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = again
		} else if how := differences(out, again); len(how) > 0 {
			return nil, fmt.Errorf("it is not deterministic: %s", strings.Join(how, "; "))
		}
	}
	return out, nil
}

// mostDifferences is how many differences of two documents are listed.
const mostDifferences = 10

// differences lists the places where two encoded documents differ.
func differences(a, b []byte) []string {
	x, err := codec.Document(a)
	if err != nil {
		return []string{err.Error()}
	}
	y, err := codec.Document(b)
	if err != nil {
		return []string{err.Error()}
	}
	return codec.Diff(x, y, mostDifferences)
}

// Version is the version of a kind's schema. The zero Version means that none is
// set. Versions may be compared with ==.
type Version struct{ Major, Minor, Patch uint16 }

// V returns the version major.minor.patch.
func V(major, minor, patch uint16) Version { return Version{major, minor, patch} }

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// Compare returns a number below zero if v is older than w, zero if they are equal,
// above zero if v is newer.
func (v Version) Compare(w Version) int { return cmp.Compare(v.pack(), w.pack()) }

// pack returns the version as it is stored. Newer versions have greater numbers.
func (v Version) pack() uint64 {
	return uint64(v.Major)<<32 | uint64(v.Minor)<<16 | uint64(v.Patch)
}

func unpackVersion(p uint64) Version {
	major, minor, patch := record.SplitVersion(p)
	return Version{major, minor, patch}
}

// reads reports whether version v of a kind may read what version old wrote
// unchanged: within a major version only fields are added, and none of them has to
// be there.
func (v Version) reads(old Version) bool { return v.Major == old.Major && v.Compare(old) >= 0 }
