package savepoint

import (
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"

	"github.com/liap-tui/savepoint/internal/codec"
	"github.com/liap-tui/savepoint/internal/record"
)

// Event is one thing that can happen to a machine with the state S: a struct whose
// fields are all exported.
//
// Apply changes the state by the event. It runs when the event is appended and again
// at every replay, so it must have the same effect each time: it must read no clock
// (meta.Time is the time) and no random source. Apply is called on an event that was
// decoded from the stored bytes, so it may keep what the event holds. An error or a
// panic refuses the write; at a replay the record then counts as damaged, and the
// library tries other ways to rebuild the state.
type Event[S any] interface {
	Apply(state *S, meta Meta) error
}

// Checker may be implemented by an event, to check the rules. Check runs before the
// event is appended and never at a replay, so that old events are not judged by new
// rules. It must change nothing. An error or a panic refuses the write.
type Checker[S any] interface {
	Check(state *S, meta Meta) error
}

// Events are the events of a kind: a name, which goes to disk and must not change,
// and a prototype of the event's type. Names that start with "_" are the library's.
type Events[S any] map[string]Event[S]

// Kind describes the machines of one kind. S is the type of their state: a struct
// with exported fields only, or a [Doc]. The functions of a Kind are called while a
// machine's lock is held, so they must not use the database.
type Kind[S any] struct {
	// Name of the kind, 1 to 255 bytes. It goes to disk and must not change.
	Name string
	// Version of the schema of state and events. Raise the minor number when fields
	// are added that may be absent in old data, the major number with every other
	// change. The zero Version means 1.0.0.
	Version Version
	// Migrations lead from older versions to this one.
	Migrations []Migration
	// Events that machines of the kind can have.
	Events Events[S]

	// New returns the state of a machine before its first event. Default: the zero S.
	New func() S
	// Phase returns the name of the phase that a state is in. Default: no phases.
	Phase func(*S) string
	// Legal lists, for each phase, the phases that may follow it; a write that makes
	// another change of phase is refused with ErrIllegal. To stay in a phase is always
	// legal. Nil allows every change.
	Legal map[string][]string
	// Validate checks a state after each event and after each rebuild. An error refuses
	// the write, or the rebuilt state.
	Validate func(*S) error
	// Strategy of the kind. The zero Strategy means Options.Strategy.
	Strategy Strategy
	// Revisions says how the revisions are named that Save makes under Versioned.
	Revisions RevisionNaming
	// OnConflict says what a Save does whose IfSeq is not the machine's seq. Default:
	// it is refused with a *ConflictError.
	OnConflict ConflictPolicy
	// Merge decides such a conflict in place of OnConflict. It gets the state at that
	// seq, the state to be saved and the live state, all of which it may change and
	// keep, and returns the state to save. An error refuses the Save.
	Merge func(base, mine, theirs S) (S, error)
	// Snapshot says when snapshots are stored and how many are kept.
	Snapshot SnapshotPolicy
	// Final lists the phases in which a machine is finished, for
	// RetentionPolicy.ArchiveAfter.
	Final []string
	// Retention says how much of the log is kept. Default: all of it.
	Retention RetentionPolicy
	// SnapshotWhen makes a write store a snapshot when it returns true for the state
	// after the write.
	SnapshotWhen func(*S) bool
}

// kind is a Kind without its type parameter. States are *State[S] in an any, values
// *S in an any, events Event[S] in an any.
type kind struct {
	name      string
	number    uint32 // of the kind in the file; Register sets it
	version   Version
	packed    uint64 // version as it is stored
	strategy  Strategy
	policy    SnapshotPolicy
	retention RetentionPolicy
	final     map[string]bool
	legal     map[string]map[string]bool // nil allows all

	names map[reflect.Type]string
	types map[string]*eventType
	state reflect.Type

	migrations *migrations
	revisions  RevisionNaming
	onConflict ConflictPolicy

	kindFuncs

	machines map[string]*machine // those in memory; guarded by cache.mu
}

// kindFuncs are the functions of a kind that need its type parameter. Those that
// return an error turn a panic of the program's function into one.
type kindFuncs struct {
	fresh    func() any             // a new *State[S] with the zero value
	value    func(st any) any       // the *S of a state
	setHead  func(st any, h *Head)  // sets the public head of a state
	initial  func(value any)        // sets *S to what New returns
	phase    func(value any) string // may panic: see phaseOf
	valid    func(value any) error  // nil if there is no Validate
	snapshot func(value any) bool   // nil if there is no SnapshotWhen; may panic: see wantsSnapshot
	check    func(ev, value any, m *Meta) error
	apply    func(ev, value any, m *Meta) error
	equal    func(a, b any) (same bool, differences []string)
	merge    func(base, mine, theirs any) (enc []byte, err error)                        // nil if there is no Merge
	plain    func(value any) any                                                         // the S of a *S
	asRecord func(u *upcaster, seq, pos uint64, env *record.Envelope) (Meta, any, error) // the Meta of a record and its Event[S], or nil
}

// eventType is one event of a kind.
type eventType struct {
	name string
	typ  reflect.Type // of the prototype: a struct or a pointer to one
	flat bool         // a copy of the value is equal to a decoded one and shares nothing with it

	place    int    // index among the kind's types
	encoding string // what a PanicError names when the encoding panics
}

// decode returns the event in the prototype's form, a value or a pointer.
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

// guard, when deferred, turns a panic of a function of the program into a *PanicError.
func guard(in string, err *error) {
	if p := recover(); p != nil {
		*err = &PanicError{In: in, Value: p, Stack: debug.Stack()}
	}
}

// erase returns the untyped kind of k, and the reasons why it cannot be registered.
func erase[S any](k *Kind[S]) (u *kind, problems []string) {
	u = &kind{
		name: k.Name, version: k.Version, strategy: k.Strategy, policy: k.Snapshot, retention: k.Retention,
		revisions: k.Revisions, onConflict: k.OnConflict,
		final: map[string]bool{}, names: map[reflect.Type]string{}, types: map[string]*eventType{},
		state: reflect.TypeFor[S](), kindFuncs: eraseFuncs(k),
	}
	if u.version == (Version{}) {
		u.version = V(1, 0, 0)
	}
	u.packed = u.version.pack()
	if k.Legal != nil {
		u.legal = map[string]map[string]bool{}
		for from, tos := range k.Legal {
			u.legal[from] = map[string]bool{}
			for _, to := range tos {
				u.legal[from][to] = true
			}
		}
	}
	for _, phase := range k.Final {
		u.final[phase] = true
	}

	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	u.validate(k.Phase != nil, problem)
	for name, proto := range k.Events {
		u.addEvent(name, proto, problem)
	}
	u.migrations = collectMigrations(k.Migrations, problem)
	u.migrations.check(u.version, func(event string) bool { return u.types[event] != nil }, problem)
	return u, problems
}

// validate reports what is wrong with the kind, its events and migrations left out.
func (k *kind) validate(hasPhases bool, problem func(string, ...any)) {
	if err := checkName(k.name); err != nil {
		problem("kind name %q: %v", k.name, err)
	}
	if err := k.strategy.validate(); err != nil {
		problem("%v", err)
	}
	if !hasPhases && len(k.final) > 0 {
		problem("Final lists phases, and there is no Phase that names them")
	}
	if err := k.onConflict.validate(k.merge != nil); err != nil {
		problem("%v", err)
	}
	if k.revisions > HashedRevisions {
		problem("naming of revisions %d does not exist", uint8(k.revisions))
	}
	for _, p := range codec.Problems(k.state) {
		problem("state %s", p)
	}
}

// eraseFuncs wraps the functions of k, so that they take states, values and events
// in an any.
func eraseFuncs[S any](k *Kind[S]) kindFuncs {
	f := kindFuncs{
		fresh:   func() any { return new(State[S]) },
		value:   func(st any) any { return &st.(*State[S]).Value },
		setHead: func(st any, h *Head) { st.(*State[S]).Head = *h },
		initial: func(value any) {
			if k.New != nil {
				*value.(*S) = k.New()
				return
			}
			var zero S
			*value.(*S) = zero
		},
		phase: func(any) string { return "" },
		valid: func(any) error { return nil },
		check: func(ev, value any, m *Meta) (err error) {
			c, ok := ev.(Checker[S])
			if !ok {
				return nil
			}
			defer guard("Check", &err)
			return c.Check(value.(*S), *m)
		},
		apply: func(ev, value any, m *Meta) (err error) {
			defer guard("Apply", &err)
			return ev.(Event[S]).Apply(value.(*S), *m)
		},
		equal: func(a, b any) (bool, []string) { return sameState(a, b) },
		plain: func(value any) any { return *value.(*S) },
		asRecord: func(u *upcaster, seq, pos uint64, env *record.Envelope) (Meta, any, error) {
			rec, err := typed[S](u, seq, pos, env)
			return rec.Meta, rec.Event, err
		},
	}
	if k.Phase != nil {
		f.phase = func(value any) string { return k.Phase(value.(*S)) }
	}
	if k.Validate != nil {
		f.valid = func(value any) (err error) {
			defer guard("Validate", &err)
			return k.Validate(value.(*S))
		}
	}
	if k.SnapshotWhen != nil {
		f.snapshot = func(value any) bool { return k.SnapshotWhen(value.(*S)) }
	}
	if k.Merge != nil {
		f.merge = func(base, mine, theirs any) (_ []byte, err error) {
			defer guard("Merge", &err)
			merged, err := k.Merge(*base.(*S), *mine.(*S), *theirs.(*S))
			if err != nil {
				return nil, err
			}
			return encodeState(&merged)
		}
	}
	return f
}

// addEvent adds an event to the kind, or reports why it cannot be one.
func (k *kind) addEvent(name string, proto any, problem func(string, ...any)) {
	if err := checkName(name); err != nil {
		problem("event name %q: %v", name, err)
		return
	}
	if name[0] == '_' {
		problem("event name %q: names that start with _ are the library's", name)
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

// flat reports whether a value of type t shares nothing with its copies and is equal
// after it was encoded and decoded.
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

// customCoding reports whether t has methods that encode or decode it.
func customCoding(t reflect.Type) bool {
	for _, m := range []string{"MarshalMsg", "EncodeMsgpack", "MarshalMsgpack", "MarshalBinary", "MarshalText",
		"UnmarshalMsg", "DecodeMsgpack", "UnmarshalMsgpack", "UnmarshalBinary", "UnmarshalText"} {
		if _, ok := reflect.PointerTo(t).MethodByName(m); ok {
			return true
		}
	}
	return false
}

// encode encodes a value.
func (k *kind) encode(value any) ([]byte, error) { return encodeState(value) }

func encodeState(value any) (b []byte, err error) {
	defer guard("the encoding of the state", &err)
	return codec.Marshal(value)
}

// decode decodes a state into a new *State[S].
func (k *kind) decode(b []byte) (st any, err error) {
	defer guard("the decoding of the state", &err)
	st = k.fresh()
	if err := codec.Unmarshal(b, k.value(st)); err != nil {
		return nil, fmt.Errorf("decode state: %w", err)
	}
	return st, nil
}

// first returns the encoded state that New returns.
func (k *kind) first() (b []byte, err error) {
	defer guard("New", &err)
	st := k.fresh()
	k.initial(k.value(st))
	return k.encode(k.value(st))
}

// phaseOf returns the phase of a value.
func (k *kind) phaseOf(value any) (p string, err error) {
	defer guard("Phase", &err)
	return k.phase(value), nil
}

// wantsSnapshot returns what SnapshotWhen returned; the kind must have one.
func (k *kind) wantsSnapshot(value any) (b bool, err error) {
	defer guard("SnapshotWhen", &err)
	return k.snapshot(value), nil
}

// setUpcastPhase sets the phase in the head of an upcast state, for migrations may
// rename phases.
func (k *kind) setUpcastPhase(h *Head, value any) {
	if phase, err := k.phaseOf(value); err == nil {
		h.Phase = phase
	}
}

// allowed reports whether Legal allows a change of phase.
func (k *kind) allowed(from, to string) bool {
	return from == to || k.legal == nil || k.legal[from][to]
}

var errNilEvent = errors.New("the event is nil")

// typeOf returns the type of an event, or ErrBadEvent if the kind does not list it.
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

// sameState compares two values as documents and returns up to ten differences.
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
