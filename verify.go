package savepoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
)

// Divergence is a place where a replay does not give what is stored.
type Divergence struct {
	Seq  uint64 // the first record after which they part, as near as can be told
	Name string // its event
	At   uint64 // the record whose stored state or phase differs
	What string
}

func (d Divergence) String() string {
	return fmt.Sprintf("record %d (%s): %s", d.Seq, d.Name, d.What)
}

// VerifyReport tells what Verify found.
type VerifyReport struct {
	Kind, ID    string
	Events      int // replayed
	Upcast      int // of those, replayed as the kind's version has them, or passed where it cannot read them: not compared
	Snapshots   int // compared
	Head        uint64
	Divergences []Divergence
	Gaps        []GapError // records that recoveries gave up, passed over
}

// OK says that the replay gave what is stored.
func (r *VerifyReport) OK() bool { return len(r.Divergences) == 0 }

// Verify replays a machine from the base of its log and compares what it gets
// with every stored snapshot, with the phases in the records, and with the
// newest state. A difference means that an Apply changed, or cheats: reads a
// clock, a random source, or something outside. Damaged bytes are an error, not
// a divergence.
func (s *Store[S]) Verify(ctx context.Context, id string) (*VerifyReport, error) {
	rep, err := s.db.verify(ctx, s.kind, id)
	if err != nil {
		return rep, fmt.Errorf("verify %s %.60q: %w", s.kind.name, id, err)
	}
	return rep, nil
}

// verifier is one Verify.
type verifier struct {
	db   *DB
	kind *kind
	m    *machine
	rep  *VerifyReport
	head record.Head

	number uint64 // of the machine
	replay replay
	last   uint64 // where replay and store were last known to be the same
	digest record.Digest
	parted bool // a phase differed since then; it was reported
	upcast bool // the replay stands on a state of an older version: what follows is nothing to compare with
	inGap  bool // or on one that this program cannot read: what follows is not applied
}

func (db *DB) verify(ctx context.Context, k *kind, id string) (rep *VerifyReport, err error) {
	for n := 1; ; n++ {
		var seen logStart
		if rep, err = db.verifyOnce(ctx, k, id, &seen); err == nil || n >= maxAttempts || !db.cutMeanwhile(ctx, k, id, seen, err) {
			return rep, err
		}
	}
}

func (db *DB) verifyOnce(ctx context.Context, k *kind, id string, seen *logStart) (*VerifyReport, error) {
	rep := &VerifyReport{Kind: k.name, ID: id}
	m, err := db.awaitDurable(ctx, k, id)
	if err != nil {
		return rep, err
	}
	v := &verifier{db: db, kind: k, m: m, rep: rep}
	snaps, err := v.snapshots(ctx)
	if err != nil {
		return rep, err
	}
	*seen = logStart{v.number, v.head.Base}
	for _, g := range v.head.Gaps {
		rep.Gaps = append(rep.Gaps, GapError{From: g.From, To: g.To})
	}
	return rep, v.through(ctx, snaps)
}

// through begins at the first snapshot and replays through the others to the
// head.
func (v *verifier) through(ctx context.Context, snaps []record.Snapshot) error {
	if err := v.start(&snaps[0]); err != nil {
		return err
	}
	for i := range snaps[1:] {
		if err := v.upTo(ctx, &snaps[i+1]); err != nil {
			return err
		}
	}
	return v.toHead(ctx, v.rep.Head)
}

// snapshots are all snapshots from the base on, oldest first, and the head of
// the same moment.
func (v *verifier) snapshots(ctx context.Context) (out []record.Snapshot, err error) {
	k, id := v.kind, v.m.id
	head, err := v.db.eng.Load(ctx, v.m.key, engine.LoadRange{Snapshot: engine.EverySnapshot, SnapshotTo: engine.All}, func(it engine.Item) error {
		if it.Err != nil {
			return it.Err
		}
		var s record.Snapshot
		if err := s.Parse(append([]byte(nil), it.Bytes...), v.m.key); err != nil {
			return corrupt(k, id, "snapshot", it.Seq, err)
		}
		out = append(out, s)
		return nil
	})
	if err != nil {
		return nil, v.db.wrapEngineError(k, id, err)
	}
	if head.Number == 0 {
		return nil, notFoundError(newMachine(k, id))
	}
	v.rep.Head, v.number = head.Seq, head.Number
	if err := v.head.Parse(head.Bytes, v.m.key); err != nil {
		return nil, corrupt(k, id, "head", head.Seq, err)
	}
	out = slices.DeleteFunc(out, func(s record.Snapshot) bool { return s.Seq < v.head.Base })
	if len(out) == 0 {
		return nil, corrupt(k, id, "snapshot", v.head.Base, errors.New("the base of the log is not there"))
	}
	return out, nil
}

// start begins at a stored state.
func (v *verifier) start(s *record.Snapshot) error {
	v.replay = replay{kind: v.kind, id: v.m.id}
	v.last, v.digest, v.parted = s.Seq, s.Digest, false
	v.replay.env.To = s.Phase
	v.upcast = v.kind.upcasts(s.Version)
	err := v.begin(&v.replay, s)
	v.inGap = foreign(err)
	v.replay.seq = s.Seq
	if v.inGap {
		v.upcast, err = true, nil
	}
	return err
}

// begin starts a replay at a stored state.
func (v *verifier) begin(r *replay, s *record.Snapshot) error {
	enc, err := r.upcasterFor().state(s.Seq, s.Version, s.State)
	if err == nil {
		err = r.begin(s.Seq, enc)
	}
	if err != nil {
		return corrupt(v.kind, v.m.id, "snapshot", s.Seq, err)
	}
	return nil
}

// upTo replays up to a snapshot and compares. Behind a gap it begins again
// there.
func (v *verifier) upTo(ctx context.Context, s *record.Snapshot) error {
	if v.crosses(s.Seq) {
		return v.start(s)
	}
	if err := v.forward(ctx, &v.replay, s.Seq, v.watch); err != nil {
		return err
	}
	if s.Digest != v.digest {
		return &CorruptError{Kind: v.kind.name, ID: v.m.id, Part: "chain", Seq: s.Seq, Why: fmt.Errorf("the digest of the records is %x, the snapshot says %x", v.digest, s.Digest)}
	}
	if v.upcast || v.kind.upcasts(s.Version) {
		return v.start(s)
	}
	stored, err := v.kind.decode(s.State)
	if err != nil {
		return &CorruptError{Kind: v.kind.name, ID: v.m.id, Part: "snapshot", Seq: s.Seq, Why: err}
	}
	v.rep.Snapshots++
	if same, how := v.kind.equal(v.kind.value(v.replay.st), v.kind.value(stored)); !same && !v.parted {
		if err := v.diverged(ctx, s.Seq, fmt.Sprintf("the stored snapshot %d", s.Seq), how); err != nil {
			return err
		}
	}
	// From here on compare with what is stored, so that one difference is told once.
	return v.start(s)
}

// crosses says whether a recovery gave records up between here and there.
func (v *verifier) crosses(to uint64) bool {
	for _, g := range v.head.Gaps {
		if g.From > v.replay.seq && g.From <= to {
			return true
		}
	}
	return false
}

// watch compares the phase after each record.
func (v *verifier) watch(seq uint64, e *record.Envelope, b []byte) error {
	v.rep.Events++
	v.digest = v.digest.Next(b)
	lifts := v.kind.upcasts(e.Version)
	if e.Name == replacedName || v.inGap {
		v.upcast = lifts || v.inGap
	}
	if v.upcast || lifts {
		v.rep.Upcast++
		return nil
	}
	if e.Name == deletedName {
		return nil
	}
	phase, err := v.kind.phaseOf(v.kind.value(v.replay.st))
	if err != nil {
		return err
	}
	if phase != e.To && !v.parted && e.Reason != reasonMigrated { // a newer program that rolled back names phases its own way
		v.parted = true
		v.rep.Divergences = append(v.rep.Divergences, Divergence{Seq: seq, Name: e.Name, At: seq,
			What: fmt.Sprintf("a replay leads to phase %q, the record says %q", phase, e.To)})
	}
	return nil
}

// diverged finds the first record after which two replays from the last common
// state part. If they never do, Apply is not what it was. from is what the state
// at seq to was compared with.
func (v *verifier) diverged(ctx context.Context, to uint64, from string, how []string) error {
	d := Divergence{Seq: to, At: to, Name: v.replay.env.Name}
	d.What = fmt.Sprintf("a replay differs from %s after record %d: %s", from, v.last, joined(how))
	a, err := v.from(ctx, v.last)
	if err != nil {
		return err
	}
	b, err := v.from(ctx, v.last)
	if err != nil {
		return err
	}
	for seq := v.last + 1; seq <= to; seq++ {
		for _, r := range []*replay{a, b} {
			if err := v.forward(ctx, r, seq, nil); err != nil {
				return err
			}
		}
		if same, _ := v.kind.equal(v.kind.value(a.st), v.kind.value(b.st)); !same {
			d.Seq, d.Name = seq, a.env.Name
			d.What += "; two replays of this record differ: its Apply is not deterministic"
			break
		}
	}
	v.rep.Divergences = append(v.rep.Divergences, d)
	return nil
}

func joined(how []string) string {
	if len(how) > 3 {
		how = append(how[:3:3], "...")
	}
	var b bytes.Buffer
	for i, h := range how {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(h)
	}
	return b.String()
}

// from is a replay that stands at a stored snapshot.
func (v *verifier) from(ctx context.Context, seq uint64) (*replay, error) {
	r := &replay{kind: v.kind, id: v.m.id}
	var s record.Snapshot
	var parse error
	_, err := v.db.eng.Load(ctx, v.m.key, engine.LoadRange{Snapshot: engine.NewestSnapshot, SnapshotTo: seq}, func(it engine.Item) error {
		parse = s.Parse(append([]byte(nil), it.Bytes...), v.m.key)
		return nil
	})
	if err = errors.Join(err, parse); err != nil {
		return nil, err
	}
	if s.Seq != seq {
		return nil, fmt.Errorf("%w: snapshot %d was pruned meanwhile: verify again", ErrNoPoint, seq)
	}
	return r, v.begin(r, &s)
}

// verifyPage is how many records one look at the engine copies.
const verifyPage = 1024

// forward replays up to a record.
func (v *verifier) forward(ctx context.Context, r *replay, to uint64, each func(uint64, *record.Envelope, []byte) error) error {
	for r.seq < to {
		var items [][]byte
		first := r.seq + 1
		_, err := v.db.eng.Load(ctx, v.m.key, engine.LoadRange{Events: true, After: r.seq, To: to}, func(it engine.Item) error {
			if it.Err != nil {
				return it.Err
			}
			if it.Seq != first+uint64(len(items)) {
				return &CorruptError{Kind: v.kind.name, ID: v.m.id, Part: "event", Seq: first + uint64(len(items)), Why: errNotThere}
			}
			if len(items) >= verifyPage {
				return engine.Stop
			}
			items = append(items, append([]byte(nil), it.Bytes...))
			return nil
		})
		if err != nil {
			return v.db.wrapEngineError(v.kind, v.m.id, err)
		}
		if len(items) == 0 {
			return &CorruptError{Kind: v.kind.name, ID: v.m.id, Part: "event", Seq: first, Why: errNotThere}
		}
		for i, b := range items {
			if err := v.next(r, first+uint64(i), b); err != nil {
				return corrupt(v.kind, v.m.id, "event", first+uint64(i), err)
			}
			if each != nil {
				if err := each(r.seq, &r.env, b); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// next replays a record, or, where this program cannot read it, passes it and
// what follows up to the next whole state.
func (v *verifier) next(r *replay, seq uint64, b []byte) error {
	if v.inGap {
		if err := r.pass(seq, b); err != nil || r.env.Name != replacedName {
			return err
		}
		r.seq = seq - 1
	}
	err := r.next(seq, b)
	if v.inGap = foreign(err); v.inGap {
		return r.pass(seq, b)
	}
	return err
}

// foreign says that an error is only of versions that this program does not know.
func foreign(err error) bool { return errors.Is(err, ErrNewer) || errors.Is(err, ErrNoMigration) }

// toHead replays the rest and compares with the head and, if the machine is in
// memory, with its live state.
func (v *verifier) toHead(ctx context.Context, seq uint64) error {
	if v.crosses(seq) {
		return nil // a partial recovery stores a snapshot; without it nothing can be said
	}
	if err := v.forward(ctx, &v.replay, seq, v.watch); err != nil {
		return err
	}
	if v.digest != v.head.Digest {
		return &CorruptError{Kind: v.kind.name, ID: v.m.id, Part: "chain", Seq: seq, Why: fmt.Errorf("the digest of the records is %x, the head says %x", v.digest, v.head.Digest)}
	}
	same, how, err := v.live(ctx, seq)
	if err != nil || same {
		return err
	}
	return v.diverged(ctx, seq, "the live state", how)
}

// live compares with the live state, if there is one at seq.
func (v *verifier) live(ctx context.Context, seq uint64) (same bool, how []string, err error) {
	if err := v.m.acquire(ctx); err != nil {
		return false, nil, err
	}
	defer v.m.release()
	if v.m.live == nil || v.m.seq != seq || v.m.gone || v.m.failed.Load() || v.head.Deleted || v.parted || v.upcast {
		return true, nil, nil
	}
	same, how = v.kind.equal(v.kind.value(v.replay.st), v.kind.value(v.m.live))
	return same, how, nil
}
