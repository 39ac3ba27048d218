package savepoint

import (
	"fmt"
	"sync"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/codec"
	"github.com/liap-tui/savepoint/internal/record"
)

// draft is one machine's part of a write while it is being made. The machine's
// lock is held from begin until land or undo. Everything is checked, applied
// and encoded here, in the caller's goroutine; the committer only stores it.
type draft struct {
	db  *DB
	m   *machine
	opt *writeOptions
	now int64

	meta Meta // of the event being appended

	seq     uint64      // after the events so far
	h       record.Head // the same
	records [][]byte
	events  []engine.Event
	bytes   int64 // of the step, as far as it is known
	step    *step // whose bytes records and head are in
	payload []byte

	touched  bool // the live state is not m's any more
	replaced int  // index of the newest replaced record + 1
	state    []byte
	revised  bool // a Save under versioned
	keySum   uint64
	earlier  *Ack           // the write was done before, under the same key
	based    bool           // the base of the log is among snapshots
	blank    any            // what a deleted machine shows: the state that the next event begins from
	snaps    *snapshotIndex // m's before the draft

	first *engine.Write // lands before the rest, in a step of its own

	snapshots []engine.Snapshot
	drop      []uint64
	encoded   []byte // the state at seq, if it was encoded for a snapshot
	saved     bool   // a snapshot at seq is among snapshots
}

// maxMeta is how many bytes a record may have beside its event.
const maxMeta = 64 << 10

// maxKeys is how many idempotency keys a machine remembers.
const maxKeys = 256

func (db *DB) newDraft(m *machine, opt *writeOptions) *draft {
	d := drafts.Get().(*draft)
	d.db, d.m, d.opt, d.seq, d.h, d.snaps, d.now = db, m, opt, m.seq, m.h, m.snaps, micros(db.opt.Now())
	d.step = steps.Get().(*step)
	d.events = d.step.events
	d.h.Gaps = m.h.Gaps[:len(m.h.Gaps):len(m.h.Gaps)]
	return d
}

// drafts are those that nobody knows any more.
var drafts = sync.Pool{New: func() any { return new(draft) }}

// takeStep hands over the room, with what was put into it.
func (d *draft) takeStep() *step {
	s := d.step
	s.events, d.step = d.events, nil
	return s
}

// free gives the draft back when nobody knows it any more.
func (d *draft) free() {
	if d.step != nil {
		d.takeStep().free()
	}
	clear(d.records)
	*d = draft{records: d.records[:0], payload: d.payload[:0]}
	if cap(d.payload) > maxScratch || cap(d.records) > maxScratch/256 {
		d.payload, d.records = nil, nil
	}
	drafts.Put(d)
}

// value is the live *S.
func (d *draft) value() any { return d.m.kind.value(d.m.st) }

// valueForCallback is the *S that a callback sees: of a deleted machine that of New.
func (d *draft) valueForCallback() any {
	if !d.h.Deleted {
		return d.value()
	}
	if d.blank == nil {
		k := d.m.kind
		enc, err := k.first()
		if err == nil {
			d.blank, err = k.decode(enc)
		}
		if err != nil { // of New; the next event answers it
			d.blank = k.fresh()
		}
	}
	return d.m.kind.value(d.blank)
}

func (d *draft) head() Head {
	h := publicHead(d.m.kind, d.m.id, d.seq, &d.h)
	if h.Upcast {
		d.m.kind.setUpcastPhase(&h, d.valueForCallback())
	}
	return h
}

// errorf says which machine the write was for.
func (d *draft) errorf(what string, err error) error {
	return fmt.Errorf("%s %s %q: %w", what, d.m.kind.name, d.m.id, err)
}

// exists says whether the machine is there for IfSeq and Load.
func (m *machine) exists() bool { return m.seq > 0 && !m.h.Deleted }

// checkPreconditions checks the conditions of the write before anything else.
func (d *draft) checkPreconditions() error {
	if !d.opt.hasIfSeq {
		return nil
	}
	have := d.m.seq
	if d.opt.ifSeq == have || d.opt.ifSeq == 0 && !d.m.exists() {
		return nil
	}
	return &ConflictError{Kind: d.m.kind.name, ID: d.m.id, Want: d.opt.ifSeq, Have: have}
}

// findKey looks for the key of the write. found means that the write was done
// before; ack is its answer.
func (d *draft) findKey(sum uint64) (ack *Ack, found bool, err error) {
	if d.opt.key == "" {
		return nil, false, nil
	}
	for i := len(d.m.keys) - 1; i >= 0; i-- {
		k := &d.m.keys[i]
		if k.Name != d.opt.key {
			continue
		}
		if k.Sum != sum {
			return nil, true, fmt.Errorf("%w: %.60q was used for another write, record %d of %s %q", ErrKeyReused, k.Name, k.Seq, d.m.kind.name, d.m.id)
		}
		if k.ack != nil {
			return k.ack, true, nil
		}
		h := publicHead(d.m.kind, d.m.id, k.Seq, &record.Head{Version: k.Version, Phase: k.Phase,
			Created: d.m.h.Created, Updated: k.Time})
		if k.Seq == d.m.seq {
			h = d.m.head()
		}
		return resolvedAck(h), true, nil
	}
	return nil, false, nil
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
	stored := ev
	if !t.flat {
		if stored, err = t.decode(payload); err != nil {
			return fmt.Errorf("%w: %w", ErrBadEvent, err)
		}
	}
	d.touched = true
	if err := k.apply(stored, d.value(), &d.meta); err != nil {
		return err
	}
	return d.endRecord(&env, true)
}

// encodeEvent encodes an event. The next one takes its place.
func (d *draft) encodeEvent(t *eventType, ev any) (b []byte, err error) {
	defer guard(t.encoding, &err)
	if d.payload, err = codec.Append(d.payload[:0], ev); err != nil {
		return nil, fmt.Errorf("%w: encode event %q: %w", ErrBadEvent, t.name, err)
	}
	if len(d.payload) > d.db.opt.MaxEvent {
		return nil, fmt.Errorf("%w: event %q has %d bytes, more than Options.MaxEvent %d", ErrTooLarge, t.name, len(d.payload), d.db.opt.MaxEvent)
	}
	return d.payload, nil
}

// prepareForEvent makes the machine ready for a new event: one of an older version is
// migrated, a deleted one made live again.
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

// replace records a whole state.
func (d *draft) replace(reason string, enc []byte, problem string) error {
	k := d.m.kind
	if len(enc) > d.db.opt.MaxState {
		return fmt.Errorf("%w: the state has %d bytes, more than Options.MaxState %d", ErrTooLarge, len(enc), d.db.opt.MaxState)
	}
	if reason == reasonSaved {
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
	if reason == reasonSaved && k.strategy == Versioned {
		if env.RevisionName, err = d.revisionName(enc); err != nil {
			return err
		}
		d.h.Revision++
		env.Revision, d.h.RevisionName = d.h.Revision, env.RevisionName
		d.revised = true
	}
	d.touched = true
	d.m.st = st
	d.h.Deleted = false
	if err := d.endRecord(&env, reason == reasonSaved); err != nil {
		return err
	}
	d.replaced, d.state = len(d.records), enc
	return nil
}

// remove records the tombstone.
func (d *draft) remove() error {
	if err := d.migrate(); err != nil {
		return err
	}
	return d.tombstone(d.m.kind.packed)
}

func (d *draft) tombstone(version uint64) error {
	env := d.envelope(deletedName)
	env.Version = version
	d.h.Deleted = true
	return d.endRecord(&env, false)
}

// mark records that record seq ended in an error.
func (d *draft) mark(seq uint64, problem string) error {
	if err := d.migrate(); err != nil {
		return err
	}
	env := d.envelope(markedName)
	env.Mark, env.Error = seq, problem
	d.h.Mark = seq
	return d.endRecord(&env, false)
}

func (d *draft) envelope(name string) record.Envelope {
	o := d.opt
	return record.Envelope{Time: d.now, Version: d.m.kind.packed, Name: name, From: d.h.Phase, To: d.h.Phase,
		Actor: o.actor, Origin: uint8(o.origin), Cause: o.cause, Correlation: o.correlation, Tags: o.tags,
		Key: o.key}
}

// endRecord ends one record: the state it leaves is checked, its bytes are made.
func (d *draft) endRecord(env *record.Envelope, legal bool) error {
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
		env.KeySum = d.keySum
	}
	b := d.appendScratch(env.Append)
	if n := len(b) - len(env.Payload); n > maxMeta && env.Reason != reasonRestored { // that one has its report
		return fmt.Errorf("%w: actor, key, cause, correlation, tags and error text have %d bytes, more than %d", ErrTooLarge, n, maxMeta)
	}
	d.seq++
	d.h.Digest = d.h.Digest.Next(b)
	d.h.Phase, d.h.Version, d.h.Updated = phase, env.Version, env.Time
	if d.h.Created == 0 {
		d.h.Created = env.Time
	}
	d.h.Bytes += uint64(len(b))
	d.records = append(d.records, b)
	d.events = append(d.events, engine.Event{Bytes: b, Terms: engine.Terms{Name: env.Name, From: env.From, To: env.To,
		Actor: env.Actor, Origin: env.Origin, Time: env.Time}})
	d.bytes += int64(len(b)) + 32
	return nil
}

// appendScratch appends to the room. What was put there before stays where it is.
func (d *draft) appendScratch(fn func(dst []byte) []byte) []byte {
	from := len(d.step.bytes)
	d.step.bytes = fn(d.step.bytes)
	return d.step.bytes[from:len(d.step.bytes):len(d.step.bytes)]
}

// rollback gives the machine its state before the draft back. The live state is
// made again from the second level when somebody needs it.
func (d *draft) rollback() {
	if d.touched {
		d.m.st = nil
	}
	d.m.snaps = d.snaps
}

// empty says that the draft changes nothing.
func (d *draft) empty() bool {
	return d.seq == d.m.seq && len(d.snapshots) == 0 && len(d.drop) == 0
}

// publish makes the draft the machine's newest moment.
func (d *draft) publish(ack *Ack) {
	m := d.m
	old := m.seq
	m.seq, m.h = d.seq, d.h
	rest := d.records
	switch {
	case d.encoded != nil:
		m.enc, m.encSeq, rest = d.encoded, d.seq, nil
		m.tail.reset()
	case d.replaced > 0:
		rest = rest[d.replaced:]
		m.enc, m.encSeq = d.state, d.seq-uint64(len(rest))
		m.tail.reset()
	}
	for _, b := range rest {
		m.tail.add(b)
	}
	m.trim()
	if d.opt.key != "" && d.seq > old {
		m.keys = appendKey(m.keys, knownKey{Key: record.Key{Name: d.opt.key, Sum: d.keySum, Seq: d.seq,
			Version: d.h.Version, Phase: d.h.Phase, Time: d.h.Updated}, ack: ack})
	}
}

// appendKey adds a key and forgets the oldest above maxKeys.
func appendKey(keys []knownKey, k knownKey) []knownKey {
	if k.Name != "" && len(keys) > 0 && keys[len(keys)-1].Name == k.Name {
		keys = keys[:len(keys)-1] // a write of several records carries its key on each
	}
	if len(keys) >= maxKeys {
		keys = append(keys[:0:0], keys[len(keys)-maxKeys+1:]...)
	}
	return append(keys, k)
}
