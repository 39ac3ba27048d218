package savepoint

import (
	"fmt"
	"sync"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/codec"
	"github.com/liap-tui/savepoint/internal/record"
)

// draft is one machine's part of a write while it is being made. Everything is
// checked, applied and encoded here, in the caller's goroutine, with the
// machine's lock held from newDraft until publish or rollback; the committer
// only stores the result. Its methods are here, in draftsnapshot.go (the
// snapshots that the write takes) and in write.go (from fill to publish).
type draft struct {
	db  *DB
	m   *machine
	opt *writeOptions
	now int64 // time of its records, in microseconds since 1970

	seq   uint64        // of the newest record, those of the draft included
	h     record.Head   // after that record
	meta  Meta          // of the event being appended
	first *engine.Write // a migration, stored in a step of its own before the rest; or nil

	key   draftKey
	made  draftRecords
	state draftState
	snaps draftSnapshots
}

// draftRecords are the records that a draft has made.
type draftRecords struct {
	records [][]byte       // canonical bytes, those of first included
	events  []engine.Event // the records of this step, for the engine
	payload []byte         // the encoded event being appended; the next one overwrites it
	size    int64          // bytes of the step so far, those of first and of snapshots included
	step    *step          // owns the memory of records, events and the head
}

// draftState is what a draft has done to the machine's live state.
type draftState struct {
	touched  bool   // Apply or a whole state has changed m.live, so rollback has to drop it
	replaced int    // index of the newest record with a whole state, plus 1; 0 if no record has one
	encoded  []byte // the encoded state of that record
	blank    any    // the state from New that a callback sees of a deleted machine; nil until it asks
}

// draftPool holds drafts that nobody refers to.
var draftPool = sync.Pool{New: func() any { return new(draft) }}

// maxMeta is how many bytes a record may have besides its event.
const maxMeta = 64 << 10

// newDraft returns an empty draft for a locked machine.
func newDraft(db *DB, m *machine, opt *writeOptions) *draft {
	d := draftPool.Get().(*draft)
	d.db, d.m, d.opt, d.seq, d.h, d.now = db, m, opt, m.seq, m.h, micros(db.opt.Now())
	d.snaps.before = m.snaps
	d.made.step = stepPool.Get().(*step)
	d.made.events = d.made.step.events
	d.h.Gaps = m.h.Gaps[:len(m.h.Gaps):len(m.h.Gaps)]
	return d
}

// takeStep hands over the step that owns the memory of what was made.
func (d *draft) takeStep() *step {
	s := d.made.step
	s.events, d.made.step = d.made.events, nil
	return s
}

// free returns d to the pool. Nobody may refer to it any more.
func (d *draft) free() {
	if d.made.step != nil {
		d.takeStep().free()
	}
	records, payload := d.made.records, d.made.payload
	clear(records)
	if cap(payload) > maxScratch || cap(records) > maxScratch/256 {
		records, payload = nil, nil
	}
	*d = draft{made: draftRecords{records: records[:0], payload: payload[:0]}}
	draftPool.Put(d)
}

// value returns the live *S.
func (d *draft) value() any { return d.m.kind.value(d.m.live) }

// valueForCallback returns the *S that a callback sees: of a deleted machine the
// state that the next event starts from.
func (d *draft) valueForCallback() any {
	if !d.h.Deleted {
		return d.value()
	}
	if d.state.blank == nil {
		k := d.m.kind
		enc, err := k.first()
		if err == nil {
			d.state.blank, err = k.decode(enc)
		}
		if err != nil { // the next event fails with it
			d.state.blank = k.fresh()
		}
	}
	return d.m.kind.value(d.state.blank)
}

// head returns the machine's public head, the draft's records included.
func (d *draft) head() Head {
	h := publicHead(d.m.kind, d.m.id, d.seq, &d.h)
	if h.Upcast {
		d.m.kind.setUpcastPhase(&h, d.valueForCallback())
	}
	return h
}

// errorf adds to err what was attempted on which machine.
func (d *draft) errorf(what string, err error) error {
	return fmt.Errorf("%s %s %q: %w", what, d.m.kind.name, d.m.id, err)
}

// empty reports whether the draft changes nothing.
func (d *draft) empty() bool {
	return d.seq == d.m.seq && len(d.snaps.made) == 0 && len(d.snaps.drop) == 0
}

// append checks, encodes and applies one event.
func (d *draft) append(ev any) error {
	k := d.m.kind
	t, err := k.typeOf(ev)
	if err != nil {
		return err
	}
	if err := d.prepareForEvent(); err != nil {
		return err
	}
	env := d.envelope(t.name)
	d.meta = metaOf(k, d.m.id, d.seq+1, 0, &env)
	if err := k.check(ev, d.value(), &d.meta); err != nil {
		return err
	}
	payload, err := d.encodeEvent(t, ev)
	if err != nil {
		return err
	}
	env.Payload = payload
	decoded := ev
	if !t.flat {
		if decoded, err = t.decode(payload); err != nil {
			return fmt.Errorf("%w: %w", ErrBadEvent, err)
		}
	}
	d.state.touched = true
	if err := k.apply(decoded, d.value(), &d.meta); err != nil {
		return err
	}
	return d.addRecord(&env, true)
}

// encodeEvent encodes an event. The next call overwrites the bytes.
func (d *draft) encodeEvent(t *eventType, ev any) (b []byte, err error) {
	defer guard(t.encoding, &err)
	if d.made.payload, err = codec.Append(d.made.payload[:0], ev); err != nil {
		return nil, fmt.Errorf("%w: encode event %q: %w", ErrBadEvent, t.name, err)
	}
	if n := len(d.made.payload); n > d.db.opt.MaxEvent {
		return nil, fmt.Errorf("%w: event %q has %d bytes, more than Options.MaxEvent %d", ErrTooLarge, t.name, n, d.db.opt.MaxEvent)
	}
	return d.made.payload, nil
}

// prepareForEvent makes the machine ready for a new event: a machine of an older
// version is migrated, a deleted one starts again from New.
func (d *draft) prepareForEvent() error {
	if err := d.migrate(); err != nil {
		return err
	}
	if !d.h.Deleted {
		return nil
	}
	enc, err := d.m.kind.first()
	if err != nil {
		return err
	}
	return d.replace(reasonCreated, enc, "")
}

// replace adds a record with a whole encoded state, and the reason for it.
func (d *draft) replace(reason string, enc []byte, problem string) error {
	k := d.m.kind
	if err := d.checkStateSize(enc); err != nil {
		return err
	}
	saved := reason == reasonSaved
	if saved {
		if err := d.migrate(); err != nil {
			return err
		}
	}
	st, err := k.decode(enc)
	if err != nil {
		return err
	}
	env := d.envelope(replacedName)
	env.Reason, env.Error, env.Payload = reason, problem, enc
	if saved && k.strategy == Versioned {
		if env.RevisionName, err = revisionName(k, d.h.RevisionName, d.now, d.value(), enc); err != nil {
			return err
		}
		d.h.Revision++
		env.Revision, d.h.RevisionName = d.h.Revision, env.RevisionName
		d.snaps.revised = true
	}
	return d.addState(&env, st, enc, saved)
}

// addState adds a record that replaces the state: st is the state decoded and enc
// encoded, both as this program has it.
func (d *draft) addState(env *record.Envelope, st any, enc []byte, legal bool) error {
	d.state.touched = true
	d.m.live = st
	d.h.Deleted = false
	if err := d.addRecord(env, legal); err != nil {
		return err
	}
	d.state.replaced, d.state.encoded = len(d.made.records), enc
	return nil
}

func (d *draft) checkStateSize(enc []byte) error {
	if len(enc) > d.db.opt.MaxState {
		return fmt.Errorf("%w: the state has %d bytes, more than Options.MaxState %d", ErrTooLarge, len(enc), d.db.opt.MaxState)
	}
	return nil
}

// remove adds the tombstone of a deletion.
func (d *draft) remove() error {
	if err := d.migrate(); err != nil {
		return err
	}
	return d.tombstone(d.m.kind.packed)
}

// tombstone adds a tombstone that a version of the kind writes.
func (d *draft) tombstone(version uint64) error {
	env := d.envelope(deletedName)
	env.Version = version
	d.h.Deleted = true
	return d.addRecord(&env, false)
}

// mark adds a record which says that record seq ended in an error.
func (d *draft) mark(seq uint64, problem string) error {
	if err := d.migrate(); err != nil {
		return err
	}
	env := d.envelope(markedName)
	env.Mark, env.Error = seq, problem
	d.h.Mark = seq
	return d.addRecord(&env, false)
}

// migrate brings the machine to the kind's version before the first record that
// this version adds. The record with the whole migrated state is stored in a step
// of its own, before the rest of the write; the write's conditions were checked
// before it.
func (d *draft) migrate() error {
	k := d.m.kind
	if d.h.Version == k.packed || d.h.Deleted || !k.upcasts(d.h.Version) {
		return nil
	}
	if err := d.migrateHere(); err != nil {
		return err
	}
	first := d.engineWrite()
	if err := d.db.fits(&first, d.made.size); err != nil {
		return err
	}
	d.first = &first
	d.made.events = nil
	d.snaps.made, d.snaps.drop, d.snaps.encoded, d.snaps.current = nil, nil, nil, false
	return nil
}

// migrateHere adds a record with the whole state as the kind's version has it, to
// this step.
func (d *draft) migrateHere() error {
	k, asked := d.m.kind, d.opt
	enc, err := k.encode(d.value())
	if err != nil {
		return err
	}
	d.opt = newWriteOptions([]WriteOption{OriginSystem, Cause(fmt.Sprintf("from version %s to %s", unpackVersion(d.h.Version), k.version))})
	defer func() { d.opt = asked }()
	if err := d.replace(reasonMigrated, enc, ""); err != nil {
		return err
	}
	if k.strategy == EventSourced { // its snapshots are stored by Snapshot only, and the record holds the state
		return nil
	}
	return d.snapshot(reasonMigrated, nil)
}

// envelope returns the envelope of a new record, without what it records.
func (d *draft) envelope(name string) record.Envelope {
	o := d.opt
	return record.Envelope{Time: d.now, Version: d.m.kind.packed, Name: name, From: d.h.Phase, To: d.h.Phase,
		Actor: o.actor, Origin: uint8(o.origin), Cause: o.cause, Correlation: o.correlation, Tags: o.tags,
		Key: o.key}
}

// addRecord checks the state that a record leaves, encodes the record and adds it
// to the write. legal says whether the kind's Legal is to be asked.
func (d *draft) addRecord(env *record.Envelope, legal bool) error {
	k := d.m.kind
	phase, err := k.phaseOf(d.value())
	if err != nil {
		return err
	}
	if legal && !k.allowed(d.h.Phase, phase) {
		return fmt.Errorf("%w: %q leads from phase %q to %q, which Legal does not list", ErrIllegal, env.Name, d.h.Phase, phase)
	}
	if err := k.valid(d.value()); err != nil && env.Name != deletedName && env.Name != markedName {
		return fmt.Errorf("the state after %q is not valid: %w", env.Name, err)
	}
	env.To = phase
	if env.Key != "" {
		env.KeySum = d.key.sum
	}
	b := d.appendScratch(env.Append)
	if n := len(b) - len(env.Payload); n > maxMeta && env.Reason != reasonRestored { // the Error of a restored record is a whole report
		return fmt.Errorf("%w: actor, key, cause, correlation, tags and error text have %d bytes, more than %d", ErrTooLarge, n, maxMeta)
	}
	d.seq++
	d.h.Digest = d.h.Digest.Next(b)
	d.h.Phase, d.h.Version, d.h.Updated = phase, env.Version, env.Time
	if d.h.Created == 0 {
		d.h.Created = env.Time
	}
	d.h.Bytes += uint64(len(b))
	d.made.records = append(d.made.records, b)
	d.made.events = append(d.made.events, engine.Event{Bytes: b, Terms: engine.Terms{Name: env.Name, From: env.From, To: env.To,
		Actor: env.Actor, Origin: env.Origin, Time: env.Time}})
	d.made.size += int64(len(b)) + 32
	return nil
}

// appendScratch returns what fn appends to the step's scratch buffer. Bytes that
// were returned before stay valid when the buffer grows.
func (d *draft) appendScratch(fn func(dst []byte) []byte) []byte {
	s := d.made.step
	from := len(s.bytes)
	s.bytes = fn(s.bytes)
	return s.bytes[from:len(s.bytes):len(s.bytes)]
}
