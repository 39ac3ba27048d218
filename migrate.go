package savepoint

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/liap-tui/savepoint/internal/codec"
)

// Migration is one change of a kind between two versions: of its state, or of
// one of its events. All migrations with the same From and To happen together.
//
// Up and Down get a document of their own, which they may change and return;
// numbers are int64 and float64, times are in UTC, maps have string or int64
// keys. They are called at any time, from several goroutines, again and again
// for the same document, so they depend on nothing else: no clock, no random
// source. An error or a panic of them is a [*MigrationError]; nothing changes
// then. [Lift] makes them from functions of structs.
//
// The migrations of a state and of its events have to agree: the state after an
// old event, brought up, is what the event as it is now makes of the state
// before it, brought up. Old points are shown by the one way or the other,
// depending on the snapshots that are left.
//
// What a version wrote at which no migration begins is read as the next version
// of the same major one at which one begins, or as the kind's: within a major
// version fields are only added, and none of the new ones has to be there.
type Migration struct {
	// From and To are the versions that the change lies between. To is the newer.
	From, To Version
	// Event is the name that an event has in From. Empty: it is the state's.
	Event string
	// Up makes the document that To has from the one that From had. A state needs
	// it.
	Up func(Doc) (Doc, error)
	// Down is the way back, for [Store.Migrate] to an older version and for
	// [CheckMigration]. Events have none: what is stored of them stays as
	// it is.
	Down func(Doc) (Doc, error)
	// Rename is the name of the event in To.
	Rename string
	// Drop says that To has the event no more: its records are passed over.
	Drop bool
}

func (m *Migration) String() string {
	if m.Event == "" {
		return fmt.Sprintf("migration %s to %s", m.From, m.To)
	}
	return fmt.Sprintf("migration %s to %s of event %q", m.From, m.To, m.Event)
}

// hop is all that happens between two versions.
type hop struct {
	from, to Version
	state    *Migration // or nil: the state stays as it is
	events   map[string]*Migration
}

// migrations are the legs of a kind by where they begin, those that begin
// together in the order of where they end.
type migrations struct {
	hops  map[Version][]*hop
	begin []Version // in order
}

// collectMigrations sorts migrations into legs and says what is wrong with them.
func collectMigrations(list []Migration, problem func(string, ...any)) *migrations {
	g := &migrations{hops: map[Version][]*hop{}}
	list = slices.Clone(list) // what becomes of the caller's is no matter
	for i := range list {
		m := &list[i]
		if p := m.problem(); p != "" {
			problem("%s: %s", m, p)
			continue
		}
		l := g.hop(m.From, m.To)
		switch {
		case m.Event == "" && l.state != nil || l.events[m.Event] != nil:
			problem("%s is there twice", m)
		case m.Event == "":
			l.state = m
		default:
			l.events[m.Event] = m
		}
	}
	for _, legs := range g.hops {
		slices.SortFunc(legs, func(a, b *hop) int { return a.to.Compare(b.to) })
	}
	g.begin = slices.SortedFunc(maps.Keys(g.hops), Version.Compare)
	return g
}

func (m *Migration) problem() string {
	switch {
	case m.From == Version{} || m.To == Version{}:
		return "it has no From or no To"
	case m.From == m.To:
		return "it leads nowhere"
	case m.Event == "" && (m.Rename != "" || m.Drop):
		return "Rename and Drop are of an event: name it in Event"
	case m.Event == "" && m.Up == nil:
		return "it has no Up"
	case m.Event == "":
		return ""
	case m.Event[0] == '_' || m.Rename != "" && m.Rename[0] == '_':
		return "names that begin with _ are the library's"
	case m.Down != nil:
		return "an event has no way down: what is stored of it stays as it is"
	case m.Drop && (m.Rename != "" || m.Up != nil):
		return "an event that is dropped has no Up and no Rename"
	case m.Rename == m.Event:
		return "it is renamed to itself"
	case !m.Drop && m.Rename == "" && m.Up == nil:
		return "it changes nothing: give Up, Rename or Drop"
	}
	return ""
}

func (g *migrations) hop(from, to Version) *hop {
	for _, l := range g.hops[from] {
		if l.to == to {
			return l
		}
	}
	l := &hop{from: from, to: to, events: map[string]*Migration{}}
	g.hops[from] = append(g.hops[from], l)
	return l
}

// readAs is the version as which v is read on the way to another one.
func (g *migrations) readAs(v, to Version) Version {
	if v == to || len(g.hops[v]) > 0 {
		return v
	}
	if i, _ := slices.BinarySearchFunc(g.begin, v, Version.Compare); i < len(g.begin) {
		if next := g.begin[i]; next.reads(v) && next.Compare(to) <= 0 {
			return next
		}
	}
	if to.reads(v) {
		return to
	}
	return v
}

// path is the shortest way between two versions, no legs where what was written
// is read as it is. Of several that are as short it is the one that passes the
// oldest versions.
func (g *migrations) path(from, to Version) (legs []*hop, ok bool) {
	type place struct {
		at   Version
		by   *hop
		back int
	}
	places := []place{{at: g.readAs(from, to), back: -1}}
	seen := map[Version]bool{places[0].at: true}
	for i := 0; i < len(places); i++ {
		if places[i].at == to {
			for j := i; places[j].by != nil; j = places[j].back {
				legs = append(legs, places[j].by)
			}
			slices.Reverse(legs)
			return legs, true
		}
		for _, l := range g.hops[places[i].at] {
			if at := g.readAs(l.to, to); l.to.Compare(to) <= 0 && !seen[at] {
				seen[at] = true
				places = append(places, place{at, l, i})
			}
		}
	}
	return nil, false
}

// check reports circles, legs that do not lead to the kind's version, and events
// that end under a name the kind does not list.
func (g *migrations) check(to Version, lists func(event string) bool, problem func(string, ...any)) {
	for _, from := range g.begin {
		for _, l := range g.hops[from] {
			switch _, leads := g.path(l.to, to); {
			case l.to.Compare(from) < 0:
				if back, circle := g.path(l.to, from); circle {
					problem("migrations go in a circle: %s, back by %s to %s", versionsOf(back), from, l.to)
				} else {
					problem("migration %s to %s leads to an older version: give the way back as Down", from, l.to)
				}
			case l.to.Compare(to) > 0:
				problem("migration %s to %s leads beyond the kind's version %s", from, l.to, to)
			case !leads:
				problem("there is a gap: migration %s to %s ends at %s, and none leads from there to %s", from, l.to, l.to, to)
			default:
				g.checkEvents(l, to, lists, problem)
			}
		}
	}
}

func (g *migrations) checkEvents(l *hop, to Version, lists func(string) bool, problem func(string, ...any)) {
	rest, _ := g.path(l.to, to)
	for _, name := range slices.Sorted(maps.Keys(l.events)) {
		if last := renamed(append([]*hop{l}, rest...), name); last != "" && !lists(last) {
			problem("%s: in %s it is %q, an event that the kind does not list", l.events[name], to, last)
		}
	}
}

// renamed is the name that an event has behind the legs, empty if it is dropped.
func renamed(legs []*hop, name string) string {
	for _, l := range legs {
		m := l.events[name]
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

// versionsOf names the versions that legs pass.
func versionsOf(legs []*hop) string {
	if len(legs) == 0 {
		return "no migrations"
	}
	s := legs[0].from.String()
	for _, l := range legs {
		s += " to " + l.to.String()
	}
	return s
}

// MigrationError says which migration of what failed. Nothing was changed.
type MigrationError struct {
	Kind, ID string
	Seq      uint64 // the record, or the record that the state is right after
	Event    string // empty: the state
	From, To Version
	Err      error // of Up or Down, or a *PanicError
}

func (e *MigrationError) Error() string {
	what := "the state"
	if e.Event != "" {
		what = fmt.Sprintf("event %q", e.Event)
	}
	return fmt.Sprintf("savepoint: migrate %s %.60q: %s at %d from version %s to %s: %v", e.Kind, e.ID, what, e.Seq, e.From, e.To, e.Err)
}

// Unwrap is the reason.
func (e *MigrationError) Unwrap() error { return e.Err }

// isProgramError says that nothing is wrong with what is stored: this program cannot
// read it.
func isProgramError(err error) bool {
	var m *MigrationError
	return errors.Is(err, ErrNewer) || errors.Is(err, ErrNoMigration) || errors.As(err, &m)
}

// path leads from a version to the kind's.
func (k *kind) path(from Version) ([]*hop, error) {
	switch c := cmp.Compare(from.pack(), k.packed); {
	case c == 0:
		return nil, nil
	case c > 0:
		return nil, fmt.Errorf("%w: it has version %s, this program %s", ErrNewer, from, k.version)
	}
	legs, ok := k.migrations.path(from, k.version)
	if !ok {
		return nil, fmt.Errorf("%w: kind %q from version %s to %s: list the migrations between them in Kind.Migrations", ErrNoMigration, k.name, from, k.version)
	}
	return legs, nil
}

// upcasts says whether what a version wrote has to be brought to the kind's.
func (k *kind) upcasts(version uint64) bool {
	if version == k.packed || len(k.migrations.begin) == 0 {
		return false
	}
	legs, err := k.path(unpackVersion(version))
	return err == nil && len(legs) > 0
}

// takes says whether migrations bring an event that a version stored to one that
// the kind lists, or drop it.
func (k *kind) takes(version uint64, event string) bool {
	legs, err := k.path(unpackVersion(version))
	if err != nil {
		return errors.Is(err, ErrNewer) // the machine was rolled back, its history can be read by the newer program
	}
	last := renamed(legs, event)
	return last == "" || k.types[last] != nil
}

// outgrown says that migrations take an event from every version up to the last
// one that had it.
func (k *kind) outgrown(event string, last uint64) bool {
	for _, v := range k.migrations.begin {
		if v.pack() < last && !k.takes(v.pack(), event) {
			return false
		}
	}
	return k.takes(last, event)
}

// CheckMigration tries a migration on a document, which stays as it is: Up has to
// give the same twice, and Down what Up was given. It is for the tests of the
// program that declares the migration. A migration without Down is only looked
// at in one direction.
func CheckMigration(m Migration, d Doc) error {
	if p := m.problem(); p != "" {
		return fmt.Errorf("%s: %s", &m, p)
	}
	if m.Up == nil { // only a new name
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
		return fmt.Errorf("%s: up and down give another document: %s", &m, strings.Join(how, "; "))
	}
	return nil
}

// twice runs one way of a migration two times, and compares.
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

// mostDifferences is how many places are told where two documents differ.
const mostDifferences = 10

// differences are the places where two encoded documents differ.
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

// Version is the version of a kind's schema. The zero Version is none.
// Versions are comparable with ==.
type Version struct{ Major, Minor, Patch uint16 }

// V is the version major.minor.patch.
func V(major, minor, patch uint16) Version { return Version{major, minor, patch} }

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// Compare orders versions: below zero if v is older than w, zero if they are
// the same, above zero if v is newer.
func (v Version) Compare(w Version) int { return cmp.Compare(v.pack(), w.pack()) }

// pack is the version as it is stored.
func (v Version) pack() uint64 {
	return uint64(v.Major)<<32 | uint64(v.Minor)<<16 | uint64(v.Patch)
}

func unpackVersion(p uint64) Version {
	return Version{uint16(p >> 32), uint16(p >> 16), uint16(p)}
}

// reads says whether a program with version v of a kind may read what version
// old wrote as it is: the major versions are the same, so that fields were only
// added, none of which has to be there.
func (v Version) reads(old Version) bool { return v.Major == old.Major && v.Compare(old) >= 0 }
