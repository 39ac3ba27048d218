package savepoint_test

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/liap-tui/savepoint"
)

// plainRecord is a record of the model, with the state after it.
type plainRecord struct {
	name    string
	key     string
	time    int64
	state   tally
	deleted bool
	rev     uint64
}

// plain is a machine of the model: what the library has to return, in plain slices. recs[i] is record base+1+i.
type plain struct {
	base   uint64
	first  tally // the state at the base
	rev    uint64
	recs   []plainRecord
	keys   []plainKey
	mark   uint64
	tagged map[uint64]bool
	cut    uint64 // the log was compacted up to this seq, 0 if it was not
}

// startsAfter returns the seq after which the log starts.
func (p *plain) startsAfter() uint64 { return max(p.base, p.cut) }

func (p *plain) seq() uint64 { return p.base + uint64(len(p.recs)) }

// at returns record seq, or a record made from the base.
func (p *plain) at(seq uint64) plainRecord {
	if seq == p.base {
		return plainRecord{state: p.first, rev: p.rev}
	}
	return p.recs[seq-p.base-1]
}

func (p *plain) newest() plainRecord { return p.at(p.seq()) }

func (p *plain) exists() bool { return p.seq() > 0 && !p.newest().deleted }

// copied returns a draft of p: records that are added to it do not change p.
func (p *plain) copied() *plain {
	q := *p
	q.recs, q.keys = slices.Clip(p.recs), slices.Clip(p.keys)
	return &q
}

// add adds a record.
func (p *plain) add(name string, st tally, deleted bool, w *writeModel) {
	p.recs = append(p.recs, plainRecord{name, w.key, w.now, st, deleted, p.newest().rev})
}

// append adds an event, after New if the machine is deleted.
func (p *plain) append(ev savepoint.Event[tally], w *writeModel) error {
	if p.newest().deleted {
		p.add("_replaced", tally{Phase: "any"}, false, w)
	}
	old := p.newest().state
	st := old.copied()
	m := savepoint.Meta{Actor: w.actor, Key: w.key, Time: time.UnixMicro(w.now), Seq: p.seq() + 1}
	if c, ok := ev.(savepoint.Checker[tally]); ok && c.Check(&st, m) != nil {
		return errRule
	}
	if ev.Apply(&st, m) != nil {
		return errRule
	}
	name := "turned"
	if _, ok := ev.(added); ok {
		name = "added"
	}
	return p.check(name, old, st, w)
}

// save adds a whole state, as a revision if versioned.
func (p *plain) save(st tally, w *writeModel, versioned bool) error {
	if err := p.check("_replaced", p.newest().state, st.copied(), w); err != nil {
		return err
	}
	if versioned {
		p.recs[len(p.recs)-1].rev++
	}
	return nil
}

// check adds a record unless the rules of the kind refuse it.
func (p *plain) check(name string, old, st tally, w *writeModel) error {
	if old.Phase != st.Phase && !slices.Contains(legal[old.Phase], st.Phase) {
		return errIllegal
	}
	if st.Sum < -1_000_000 {
		return errRule
	}
	p.add(name, st, false, w)
	return nil
}

// keyed returns the seq after the first write with a key, and ErrKeyReused when that was another write.
func (p *plain) keyed(key string, what any) (uint64, bool, error) {
	for _, k := range slices.Backward(p.keys) {
		if key != "" && k.name == key {
			if !reflect.DeepEqual(k.what, what) {
				return 0, true, savepoint.ErrKeyReused
			}
			return k.seq, true, nil
		}
	}
	return 0, false, nil
}

// remember keeps the newest 256 keys.
func (p *plain) remember(key string, what any) {
	if key != "" {
		p.keys = append(p.keys, plainKey{key, what, p.seq()})
		p.keys = p.keys[max(0, len(p.keys)-256):]
	}
}

type plainKey struct {
	name string
	what any // the content of the write, nil for a callback
	seq  uint64
}

func newPlain() *plain { return &plain{first: tally{Phase: "any"}, tagged: map[uint64]bool{}} }

var legal = tallyKind("", 0, noPolicy).Legal

func (t tally) copied() tally {
	t.Slots, t.Last = maps.Clone(t.Slots), slices.Clone(t.Last)
	return t
}

// The errors of the model.
var (
	errRule    = errors.New("a rule") // Check, Apply or Validate
	errIllegal = savepoint.ErrIllegal
)

// writeModel holds what a write has besides its content.
type writeModel struct {
	actor, key string
	now        int64
}
