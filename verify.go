package savepoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/liap-tui/savepoint/engine"
	"github.com/liap-tui/savepoint/internal/record"
	"github.com/liap-tui/savepoint/report"
)

// Verify replays a machine from the base of its log. It compares the result with
// every stored snapshot, with the phase in every record, and with the live state.
// A difference means that an Apply was changed, or that it depends on something
// else than the state and the event: a clock, a random source. Differences are in
// the report; damaged bytes are an error. Verify writes nothing.
func (s *Store[S]) Verify(ctx context.Context, id string) (*report.Verify, error) {
	rep, err := s.db.verify(ctx, s.kind, id)
	if err != nil {
		return rep, fmt.Errorf("verify %s %.60q: %w", s.kind.name, id, err)
	}
	return rep, nil
}

func (db *DB) verify(ctx context.Context, k *kind, id string) (*report.Verify, error) {
	for n := 1; ; n++ {
		v := &verifier{db: db, kind: k, rep: &report.Verify{Kind: k.name, ID: id}}
		err := v.verify(ctx)
		if err == nil || n >= maxAttempts || !db.logChanged(ctx, k, id, v.start, err) {
			return v.rep, err
		}
	}
}

// verifier replays the log of one machine from snapshot to snapshot, and compares.
//
//  1. After each comparison the replay continues from what is stored, so that one
//     difference is reported once.
//  2. The digest covers every record, also those that are not applied.
//  3. States are compared only if this version of the kind wrote all of them.
type verifier struct {
	db   *DB
	kind *kind
	m    *machine
	rep  *report.Verify

	start logStart
	head  record.Head

	replay       replay
	startSeq     uint64        // the snapshot that the replay started at
	digest       record.Digest // of the records up to replay.seq
	phaseDiffers bool          // since startSeq; it is reported
	upcast       bool          // the replay's state comes from one that an older version wrote
	unreadable   bool          // this program cannot read the newest whole state: records are skipped up to the next one
}

func (v *verifier) verify(ctx context.Context) (err error) {
	if v.m, err = v.db.awaitDurable(ctx, v.kind, v.rep.ID); err != nil {
		return err
	}
	snaps, err := v.snapshots(ctx)
	if err != nil {
		return err
	}
	for _, g := range v.head.Gaps {
		v.rep.Gaps = append(v.rep.Gaps, report.Gap{From: g.From, To: g.To})
	}
	return v.compareAll(ctx, snaps)
}

// snapshots returns all snapshots from the base on, oldest first, and sets the
// head to that of the same moment.
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
	v.rep.Head = head.Seq
	if err := v.head.Parse(head.Bytes, v.m.key); err != nil {
		return nil, corrupt(k, id, "head", head.Seq, err)
	}
	v.start = logStart{head.Number, v.head.Base}
	out = slices.DeleteFunc(out, func(s record.Snapshot) bool { return s.Seq < v.head.Base })
	if len(out) == 0 {
		return nil, corrupt(k, id, "snapshot", v.head.Base, errors.New("the base of the log is missing"))
	}
	return out, nil
}

// compareAll replays from the first snapshot to each of the others and to the head.
func (v *verifier) compareAll(ctx context.Context, snaps []record.Snapshot) error {
	if err := v.startAt(&snaps[0]); err != nil {
		return err
	}
	for i := range snaps[1:] {
		if err := v.compareSnapshot(ctx, &snaps[i+1]); err != nil {
			return err
		}
	}
	return v.compareHead(ctx)
}

// startAt starts the replay at a snapshot. One that only another version can read is
// not an error: the records after it are skipped up to the next whole state.
func (v *verifier) startAt(s *record.Snapshot) error {
	v.replay = replay{kind: v.kind, id: v.m.id}
	v.startSeq, v.digest, v.phaseDiffers = s.Seq, s.Digest, false
	v.replay.env.To = s.Phase
	v.upcast = v.kind.upcasts(s.Version)
	err := v.beginReplay(&v.replay, s)
	v.unreadable = unknownVersion(err)
	v.replay.seq = s.Seq
	if v.unreadable {
		v.upcast, err = true, nil
	}
	return err
}

// beginReplay sets a replay's state from a snapshot.
func (v *verifier) beginReplay(r *replay, s *record.Snapshot) error {
	enc, err := r.upcasterFor().state(s.Seq, s.Version, s.State)
	if err == nil {
		err = r.begin(s.Seq, enc)
	}
	if err != nil {
		return corrupt(v.kind, v.m.id, "snapshot", s.Seq, err)
	}
	return nil
}

// compareSnapshot replays up to a snapshot, compares, and continues from there. If a
// recovery gave up records before the snapshot, there is nothing to compare.
func (v *verifier) compareSnapshot(ctx context.Context, s *record.Snapshot) error {
	if v.gapBefore(s.Seq) {
		return v.startAt(s)
	}
	if err := v.advance(ctx, &v.replay, s.Seq, v.compareRecord); err != nil {
		return err
	}
	if s.Digest != v.digest {
		return v.wrongDigest("snapshot", s.Seq, s.Digest)
	}
	if v.upcast || v.kind.upcasts(s.Version) {
		return v.startAt(s)
	}
	stored, err := v.kind.decode(s.State)
	if err != nil {
		return &CorruptError{Kind: v.kind.name, ID: v.m.id, Part: "snapshot", Seq: s.Seq, Why: err}
	}
	v.rep.Snapshots++
	if same, how := v.kind.equal(v.kind.value(v.replay.st), v.kind.value(stored)); !same && !v.phaseDiffers {
		if err := v.addDivergence(ctx, s.Seq, fmt.Sprintf("the stored snapshot %d", s.Seq), how); err != nil {
			return err
		}
	}
	return v.startAt(s)
}

// gapBefore reports whether a recovery gave up records between the replay and seq.
func (v *verifier) gapBefore(seq uint64) bool {
	for _, g := range v.head.Gaps {
		if g.From > v.replay.seq && g.From <= seq {
			return true
		}
	}
	return false
}

// compareRecord counts a record that was replayed, and compares the phase after it.
func (v *verifier) compareRecord(seq uint64, e *record.Envelope, b []byte) error {
	v.rep.Events++
	v.digest = v.digest.Next(b)
	older := v.kind.upcasts(e.Version)
	if e.Name == replacedName || v.unreadable {
		v.upcast = older || v.unreadable
	}
	if v.upcast || older {
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
	if phase != e.To && !v.phaseDiffers && e.Reason != reasonMigrated { // a newer program that rolled back has phase names of its own
		v.phaseDiffers = true
		v.rep.Divergences = append(v.rep.Divergences, report.Divergence{Seq: seq, Name: e.Name, At: seq,
			What: fmt.Sprintf("a replay leads to phase %q, the record says %q", phase, e.To)})
	}
	return nil
}

// addDivergence reports that the replay differs from what is stored at seq to. It
// replays twice from the last snapshot: the first record after which the two
// differ has an Apply that is not deterministic. If they never differ, Apply was
// changed. stored names what the state at to was compared with.
func (v *verifier) addDivergence(ctx context.Context, to uint64, stored string, how []string) error {
	d := report.Divergence{Seq: to, At: to, Name: v.replay.env.Name}
	d.What = fmt.Sprintf("a replay differs from %s after record %d: %s", stored, v.startSeq, firstOf(how))
	a, err := v.replayFrom(ctx, v.startSeq)
	if err != nil {
		return err
	}
	b, err := v.replayFrom(ctx, v.startSeq)
	if err != nil {
		return err
	}
	for seq := v.startSeq + 1; seq <= to; seq++ {
		for _, r := range []*replay{a, b} {
			if err := v.advance(ctx, r, seq, nil); err != nil {
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

// firstOf returns the first few differences as text.
func firstOf(how []string) string {
	if len(how) > 3 {
		how = append(how[:3:3], "...")
	}
	return strings.Join(how, ", ")
}

// replayFrom returns a new replay that starts at the stored snapshot of record seq.
func (v *verifier) replayFrom(ctx context.Context, seq uint64) (*replay, error) {
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
	return r, v.beginReplay(r, &s)
}

// verifyPage is how many records one load copies.
const verifyPage = 1024

// advance replays up to record to and calls each, if it is not nil, after every record.
func (v *verifier) advance(ctx context.Context, r *replay, to uint64, each func(uint64, *record.Envelope, []byte) error) error {
	for r.seq < to {
		first := r.seq + 1
		page, err := v.records(ctx, first, to)
		if err != nil {
			return err
		}
		for i, b := range page {
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

// records returns the records from first on, up to to, at most verifyPage. One that is
// damaged or missing is an error.
func (v *verifier) records(ctx context.Context, first, to uint64) (page [][]byte, err error) {
	missing := func(seq uint64) error {
		return &CorruptError{Kind: v.kind.name, ID: v.m.id, Part: "event", Seq: seq, Why: errNotThere}
	}
	_, err = v.db.eng.Load(ctx, v.m.key, engine.LoadRange{Events: true, After: first - 1, To: to}, func(it engine.Item) error {
		if it.Err != nil {
			return it.Err
		}
		if next := first + uint64(len(page)); it.Seq != next {
			return missing(next)
		}
		if len(page) >= verifyPage {
			return engine.Stop
		}
		page = append(page, append([]byte(nil), it.Bytes...))
		return nil
	})
	if err != nil {
		return nil, v.db.wrapEngineError(v.kind, v.m.id, err)
	}
	if len(page) == 0 {
		return nil, missing(first)
	}
	return page, nil
}

// next applies a record. One that this program cannot read is skipped, and so are
// the records after it up to the next whole state.
func (v *verifier) next(r *replay, seq uint64, b []byte) error {
	if v.unreadable {
		if err := r.skip(seq, b); err != nil || r.env.Name != replacedName {
			return err
		}
		r.seq = seq - 1
	}
	err := r.next(seq, b)
	if v.unreadable = unknownVersion(err); v.unreadable {
		return r.skip(seq, b)
	}
	return err
}

// unknownVersion reports whether err says that this program does not know the version
// of what is stored.
func unknownVersion(err error) bool {
	return errors.Is(err, ErrNewer) || errors.Is(err, ErrNoMigration)
}

// compareHead replays the records after the last snapshot and compares with the head
// and, if the machine is in memory, with its live state.
func (v *verifier) compareHead(ctx context.Context) error {
	seq := v.rep.Head
	if v.gapBefore(seq) {
		return nil // a partial recovery stores a snapshot; if that is lost, there is nothing to start at
	}
	if err := v.advance(ctx, &v.replay, seq, v.compareRecord); err != nil {
		return err
	}
	if v.digest != v.head.Digest {
		return v.wrongDigest("head", seq, v.head.Digest)
	}
	same, how, err := v.sameAsLive(ctx, seq)
	if err != nil || same {
		return err
	}
	return v.addDivergence(ctx, seq, "the live state", how)
}

// sameAsLive compares the replay with the live state. It returns true if the machine has
// no live state at seq, or if the two cannot be compared.
func (v *verifier) sameAsLive(ctx context.Context, seq uint64) (same bool, how []string, err error) {
	if err := v.m.acquire(ctx); err != nil {
		return false, nil, err
	}
	defer v.m.release()
	if v.m.live == nil || v.m.seq != seq || v.m.gone || v.m.failed.Load() || v.head.Deleted || v.phaseDiffers || v.upcast {
		return true, nil, nil
	}
	same, how = v.kind.equal(v.kind.value(v.replay.st), v.kind.value(v.m.live))
	return same, how, nil
}

func (v *verifier) wrongDigest(part string, seq uint64, stored record.Digest) error {
	return &CorruptError{Kind: v.kind.name, ID: v.m.id, Part: "chain", Seq: seq,
		Why: fmt.Errorf("the digest of the records is %x, the %s says %x", v.digest, part, stored)}
}
