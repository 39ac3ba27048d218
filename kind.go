package savepoint

import (
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"

	"github.com/liap-tui/savepoint/internal/codec"
	"github.com/liap-tui/savepoint/internal/record"
)

// Event is one thing that can happen to a machine with the state S: a struct
// whose fields are all exported.
//
// Apply changes the state by the event. It runs when the event is appended and
// at every replay, so it must give the same result each time: it reads no clock
// (Meta.Time is the clock) and no random source. The event it gets was decoded
// from the stored bytes, so it may keep what the event holds. An error or a
// panic rejects the write; at a replay it starts the recovery ladder.
type Event[S any] interface {
	Apply(state *S, meta Meta) error
}

// Checker is what an event may have besides: the rules. Check runs before the
// event is appended and never at a replay, so that old events are not judged by
// new rules. It changes nothing.
type Checker[S any] interface {
	Check(state *S, meta Meta) error
}

// Events are the events of a kind: stable names, which go to disk, and a
// prototype of each type. Names that begin with "_" are the library's.
type Events[S any] map[string]Event[S]

// Kind says what a machine is. S is a struct of exported fields, or a [Doc].
type Kind[S any] struct {
	// Name of the kind, 1 to 255 bytes, stable: it goes to disk.
	Name string
	// Version of the schema. Raise the minor one when fields are added that need
	// not be there, the major one with every other change. Zero means 1.0.0.
	Version Version
	// Migrations lead from older versions to this one.
	Migrations []Migration
	// Events that machines of the kind can have.
	Events Events[S]

	// New is the state of a machine before its first event; default the zero S.
	New func() S
	// Phase names the machine's phase; default none.
	Phase func(*S) string
	// Legal lists, per phase, the phases that may follow; others answer
	// ErrIllegal. Staying in a phase is always legal. Nil allows all.
	Legal map[string][]string
	// Validate checks a state after each event and after each recovery.
	Validate func(*S) error
	// Strategy of the kind; zero means what Options say.
	Strategy Strategy
	// Revisions says how the revisions of the versioned strategy are named.
	Revisions RevisionNaming
	// OnConflict says what a Save does whose IfSeq is not the machine's seq;
	// default: it answers a *ConflictError.
	OnConflict ConflictPolicy
	// Merge decides such a conflict in place of OnConflict: from the state at that
	// seq, the one to be saved and the live one, all its own, it makes the one that
	// is saved. An error of it refuses the Save.
	Merge func(base, mine, theirs S) (S, error)
	// Snapshot says when snapshots are taken and how many are kept.
	Snapshot SnapshotPolicy
	// Final are the phases in which a machine is finished, for
	// RetentionPolicy.ArchiveAfter.
	Final []string
	// Retention says how much of the log is kept; default all of it.
	Retention RetentionPolicy
	// SnapshotWhen takes a snapshot after a write that leaves a state it is
	// true for.
	SnapshotWhen func(*S) bool
}

// kind is a Kind without its type parameter. States are *State[S] in an any,
// values *S in an any, events Event[S] in an any.
type kind struct {
	name      string
	number    uint32
	version   Version
	packed    uint64 // version, as it is stored
	strategy  Strategy
	policy    SnapshotPolicy
	retention RetentionPolicy
	final     map[string]bool
	legal     map[string]map[string]bool

	names map[reflect.Type]string
	types map[string]*eventType
	state reflect.Type

	migrations *migrations
	revisions  RevisionNaming
	onConflict ConflictPolicy

	fresh    func() any            // *State[S] with the zero value
	value    func(st any) any      // its *S
	setHead  func(st any, h *Head) // writes the public head
	initial  func(value any)       // sets *S to what New gives
	phase    func(value any) string
	valid    func(value any) error
	snapshot func(value any) bool
	check    func(ev, value any, m *Meta) error
	apply    func(ev, value any, m *Meta) error
	equal    func(a, b any) (same bool, differences []string)
	merge    func(base, mine, theirs any) (enc []byte, err error)                        // or nil
	plain    func(value any) any                                                         // S, not *S
	shown    func(l *upcaster, seq, pos uint64, env *record.Envelope) (Meta, any, error) // a record; its Event[S] or nil

	problems []string
	machines map[string]*machine // in memory; guarded by cache.mu
}

// eventType is what is known of the type of one event.
type eventType struct {
	name string
	typ  reflect.Type // as the prototype is: a struct or a pointer to one
	flat bool         // a copy of the value is as good as a decoded one

	place    int    // among the kind's types
	encoding string // what fails when an event cannot be encoded
}

// newEvent decodes an event in the prototype's form.
func (t *eventType) decode(payload []byte) (any, error) {
	elem := t.typ
	if elem.Kind() == reflect.Pointer {
		elem = elem.Elem()
	}
	p := reflect.New(elem)
	if err := codec.Unmarshal(payload, p.Interface()); err != nil {
		return nil, fmt.Errorf("decode event %q: %w", t.name, err)
	}
	if t.typ.Kind() == reflect.Pointer {
		return p.Interface(), nil
	}
	return p.Elem().Interface(), nil
}

// guard turns a panic of a user's function into an error.
func guard(in string, err *error) {
	if p := recover(); p != nil {
		*err = &PanicError{In: in, Value: p, Stack: debug.Stack()}
	}
}

// erase makes the untyped kind of k.
func erase[S any](k *Kind[S]) *kind {
	u := &kind{
		name: k.Name, version: k.Version, strategy: k.Strategy, policy: k.Snapshot, retention: k.Retention, final: map[string]bool{},
		names: map[reflect.Type]string{}, types: map[string]*eventType{},
		state: reflect.TypeFor[S](),
	}
	if u.version == (Version{}) {
		u.version = V(1, 0, 0)
	}
	u.packed = u.version.pack()
	if k.Legal != nil {
		u.legal = map[string]map[string]bool{}
		for from, tos := range k.Legal {
			set := map[string]bool{}
			for _, to := range tos {
				set[to] = true
			}
			u.legal[from] = set
		}
	}
	u.fresh = func() any { return new(State[S]) }
	u.value = func(st any) any { return &st.(*State[S]).Value }
	u.setHead = func(st any, h *Head) { st.(*State[S]).Head = *h }
	u.initial = func(value any) {
		if k.New != nil {
			*value.(*S) = k.New()
			return
		}
		var zero S
		*value.(*S) = zero
	}
	u.phase = func(any) string { return "" }
	if k.Phase != nil {
		u.phase = func(value any) string { return k.Phase(value.(*S)) }
	}
	u.valid = func(any) error { return nil }
	if k.Validate != nil {
		u.valid = func(value any) (err error) {
			defer guard("Validate", &err)
			return k.Validate(value.(*S))
		}
	}
	if k.SnapshotWhen != nil {
		u.snapshot = func(value any) bool { return k.SnapshotWhen(value.(*S)) }
	}
	u.check = func(ev, value any, m *Meta) (err error) {
		c, ok := ev.(Checker[S])
		if !ok {
			return nil
		}
		defer guard("Check", &err)
		return c.Check(value.(*S), *m)
	}
	u.apply = func(ev, value any, m *Meta) (err error) {
		defer guard("Apply", &err)
		return ev.(Event[S]).Apply(value.(*S), *m)
	}
	u.equal = func(a, b any) (bool, []string) { return sameState(a, b) }
	u.revisions, u.onConflict = k.Revisions, k.OnConflict
	u.plain = func(value any) any { return *value.(*S) }
	if k.Merge != nil {
		u.merge = func(base, mine, theirs any) (_ []byte, err error) {
			defer guard("Merge", &err)
			merged, err := k.Merge(*base.(*S), *mine.(*S), *theirs.(*S))
			if err != nil {
				return nil, err
			}
			return u.encode(&merged)
		}
	}
	u.shown = func(l *upcaster, seq, pos uint64, env *record.Envelope) (Meta, any, error) {
		rec, err := typed[S](l, seq, pos, env)
		return rec.Meta, rec.Event, err
	}

	problem := func(format string, args ...any) { u.problems = append(u.problems, fmt.Sprintf(format, args...)) }
	if err := checkName(k.Name); err != nil {
		problem("kind name %q: %v", k.Name, err)
	}
	if err := k.Strategy.validate(); err != nil {
		problem("%v", err)
	}
	for _, phase := range k.Final {
		u.final[phase] = true
	}
	if k.Phase == nil && len(k.Final) > 0 {
		problem("Final lists phases, and there is no Phase that names them")
	}
	if err := k.OnConflict.validate(k.Merge != nil); err != nil {
		problem("%v", err)
	}
	if k.Revisions > HashedRevisions {
		problem("naming of revisions %d does not exist", uint8(k.Revisions))
	}
	for _, p := range codec.Problems(u.state) {
		problem("state %s", p)
	}
	for name, proto := range k.Events {
		u.addEvent(name, proto, problem)
	}
	u.migrations = collectMigrations(k.Migrations, problem)
	u.migrations.check(u.version, func(event string) bool { return u.types[event] != nil }, problem)
	return u
}

func (k *kind) addEvent(name string, proto any, problem func(string, ...any)) {
	if err := checkName(name); err != nil {
		problem("event name %q: %v", name, err)
		return
	}
	if name[0] == '_' {
		problem("event name %q: names that begin with _ are the library's", name)
		return
	}
	if proto == nil {
		problem("event %q has no prototype: give a value of its type", name)
		return
	}
	t := reflect.TypeOf(proto)
	elem := t
	if t.Kind() == reflect.Pointer {
		elem = t.Elem()
	}
	if elem.Kind() == reflect.Pointer || elem.Kind() == reflect.Interface {
		problem("event %q is a %s: use a struct or a pointer to one", name, t)
		return
	}
	if first, twice := k.names[t]; twice {
		problem("type %s has two names, %q and %q", t, min(first, name), max(first, name))
		return
	}
	for _, p := range codec.Problems(elem) {
		problem("event %q: %s", name, p)
	}
	k.names[t] = name
	k.types[name] = &eventType{name: name, typ: t, flat: t.Kind() != reflect.Pointer && flat(t), place: len(k.types),
		encoding: "the encoding of event " + name}
}

// flat says whether a value of type t shares nothing with its copies and comes
// back from its encoding as it was.
func flat(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.String, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return t.PkgPath() == "" || t.NumMethod() == 0 && reflect.PointerTo(t).NumMethod() == 0
	case reflect.Struct:
		if customCoding(t) {
			return false
		}
		for i := range t.NumField() {
			f := t.Field(i)
			if !f.IsExported() || f.Anonymous || f.Tag.Get("msgpack") != "" || !flat(f.Type) {
				return false
			}
		}
		return true
	}
	return false
}

// customCoding says whether a type brings an encoding of its own.
func customCoding(t reflect.Type) bool {
	for _, m := range []string{"MarshalMsg", "EncodeMsgpack", "MarshalMsgpack", "MarshalBinary", "MarshalText",
		"UnmarshalMsg", "DecodeMsgpack", "UnmarshalMsgpack", "UnmarshalBinary", "UnmarshalText"} {
		if _, ok := reflect.PointerTo(t).MethodByName(m); ok {
			return true
		}
	}
	return false
}

// encode is the encoded value.
func (k *kind) encode(value any) (b []byte, err error) {
	defer guard("the encoding of the state", &err)
	return codec.Marshal(value)
}

// decode is the state of these bytes, in a fresh *State[S].
func (k *kind) decode(b []byte) (st any, err error) {
	defer guard("the decoding of the state", &err)
	st = k.fresh()
	if err := codec.Unmarshal(b, k.value(st)); err != nil {
		return nil, fmt.Errorf("decode state: %w", err)
	}
	return st, nil
}

// first is the encoded state that New gives.
func (k *kind) first() (b []byte, err error) {
	defer guard("New", &err)
	st := k.fresh()
	k.initial(k.value(st))
	return k.encode(k.value(st))
}

// phaseOf is the phase of a value.
func (k *kind) phaseOf(value any) (p string, err error) {
	defer guard("Phase", &err)
	return k.phase(value), nil
}

func (k *kind) allowed(from, to string) bool {
	return from == to || k.legal == nil || k.legal[from][to]
}

var errNilEvent = errors.New("the event is nil")

// typeOf finds the type of an event.
func (k *kind) typeOf(ev any) (*eventType, error) {
	if ev == nil {
		return nil, fmt.Errorf("%w: %w", ErrBadEvent, errNilEvent)
	}
	t := reflect.TypeOf(ev)
	if name, ok := k.names[t]; ok {
		if t.Kind() == reflect.Pointer && reflect.ValueOf(ev).IsNil() {
			return nil, fmt.Errorf("%w: %w", ErrBadEvent, errNilEvent)
		}
		return k.types[name], nil
	}
	hint := ""
	if t.Kind() == reflect.Pointer {
		if _, ok := k.names[t.Elem()]; ok {
			hint = ": its prototype is not a pointer, so append the value"
		}
	} else if _, ok := k.names[reflect.PointerTo(t)]; ok {
		hint = ": its prototype is a pointer, so append a pointer"
	}
	return nil, fmt.Errorf("%w: kind %q lists no event of type %s%s", ErrBadEvent, k.name, t, hint)
}

func sameState(a, b any) (bool, []string) {
	da, err := codec.Normalize(a)
	if err != nil {
		return false, []string{err.Error()}
	}
	db, err := codec.Normalize(b)
	if err != nil {
		return false, []string{err.Error()}
	}
	if codec.Equal(da, db) {
		return true, nil
	}
	return false, codec.Diff(da, db, 10)
}
