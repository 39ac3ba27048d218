package savepoint

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/liap-tui/savepoint/internal/record"
)

// machine is one machine in memory.
//
//  1. Everything but the atomics and the cache's fields is guarded by lock.
//  2. seq, h, st and the second level (enc, tail) are of one moment: the newest
//     record, queued ones included. durable is what the engine has.
//  3. The committer takes no lock: it writes the atomics and answers acks.
//  4. st may be nil while enc and tail can rebuild it. Once known, enc is
//     never nil.
type machine struct {
	kind    *kind
	id, key string
	lock    chan struct{}

	known   bool // the fields below are loaded
	seq     uint64
	h       record.Head
	st      any    // first level: *State[S]
	enc     []byte // second level: the encoded state at encSeq
	encSeq  uint64 //
	tail    tail   // and the records since
	keys    []knownKey
	snaps   *snapshotIndex // nil until a pruning needs it
	queued  uint64         // seq of the youngest queued step, or what is durable
	newest  *Ack           // of the youngest queued write
	unsaved []*Ack         // of Go under snapshot-only
	saver   *time.Timer    // saves them

	durable atomic.Uint64 // seq that is on disk
	pos     atomic.Uint64 // its pos
	pending atomic.Int64  // queued writes
	failed  atomic.Bool   // a queued write was not stored; forget everything
	doubt   atomic.Bool   // nobody knows whether one was

	pattern *accessPattern // nil until something is watched

	counts                        machineCounts
	reportedLive, reportedEncoded int64 // what the cache knows of size

	slot slot // the cache's
	gone bool // evicted: look it up again
}

// knownKey is an idempotency key the machine remembers.
type knownKey struct {
	record.Key
	ack *Ack // while its write is queued
}

func newMachine(k *kind, id string) *machine {
	return &machine{kind: k, id: id, key: keyOf(k.name, id), lock: make(chan struct{}, 1)}
}

// acquire takes the lock, or gives up with ctx.
func (m *machine) acquire(ctx context.Context) error {
	select {
	case m.lock <- struct{}{}:
		return nil
	default:
	}
	select {
	case m.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for %s %q: %w", m.kind.name, m.id, context.Cause(ctx))
	}
}

func (m *machine) tryAcquire() bool {
	select {
	case m.lock <- struct{}{}:
		return true
	default:
		return false
	}
}

func (m *machine) release() { <-m.lock }

// head is the public head of the newest record.
func (m *machine) head() Head {
	h := publicHead(m.kind, m.id, m.seq, &m.h)
	if m.durable.Load() == m.seq {
		h.Pos = m.pos.Load()
	}
	if h.Upcast && m.st != nil {
		m.kind.setUpcastPhase(&h, m.kind.value(m.st))
	}
	return h
}

func publicHead(k *kind, id string, seq uint64, h *record.Head) Head {
	p := Head{Kind: k.name, ID: id, Seq: seq, Phase: h.Phase, Version: unpackVersion(h.Version), Upcast: k.upcasts(h.Version),
		Revision: h.Revision, RevisionName: h.RevisionName, Deleted: h.Deleted}
	if seq > 0 {
		p.Created, p.Updated = stored(h.Created), stored(h.Updated)
	}
	return p
}

// setUpcastPhase puts the phase of a lifted state into its head: migrations may rename
// phases.
func (k *kind) setUpcastPhase(h *Head, value any) {
	if phase, err := k.phaseOf(value); err == nil {
		h.Phase = phase
	}
}

// idle says that nothing of the machine is queued or waits to be saved.
func (m *machine) idle() bool { return m.pending.Load() == 0 && len(m.unsaved) == 0 }

// forget drops what is known, so that the next look reads the engine.
func (m *machine) forget() {
	m.known, m.st, m.enc, m.tail, m.encSeq = false, nil, nil, tail{}, 0
	m.keys, m.snaps, m.seq, m.h = nil, nil, 0, record.Head{}
}

// decodeLive makes the first level from the second.
func (m *machine) decodeLive() error {
	if m.st != nil {
		return nil
	}
	r := replay{kind: m.kind, id: m.id}
	if err := r.begin(m.encSeq, m.enc); err != nil {
		return err
	}
	for i := range m.tail.ends {
		if err := r.next(m.encSeq+uint64(i)+1, m.tail.record(i)); err != nil {
			return err
		}
	}
	m.st = r.st
	return nil
}

// setFrom takes over what a rebuild found.
func (m *machine) setFrom(r *rebuiltState) {
	m.known = true
	m.seq, m.h, m.queued = r.seq, r.head, r.seq
	m.st, m.enc, m.encSeq, m.tail = r.st, r.enc, r.encSeq, r.tail
	m.keys = r.keys
	if r.head.Version == m.kind.packed && !r.head.Deleted && m.seq > 0 {
		if phase, err := m.kind.phaseOf(m.kind.value(m.st)); err == nil {
			m.h.Phase = phase // a newer program that rolled back does not know the names of this one's
		}
	}
	m.pos.Store(r.pos)
	m.durable.Store(r.seq)
}

// trim encodes the state anew when the records since the last encoding have
// become much larger than it.
func (m *machine) trim() {
	if n := len(m.tail.bytes); n <= minTail || n <= 4*len(m.enc) || m.st == nil {
		return
	}
	enc, err := m.kind.encode(m.kind.value(m.st))
	if err != nil {
		return // the longer way stays
	}
	m.enc, m.encSeq, m.tail = enc, m.seq, tail{}
}

// minTail is how many bytes of records the second level keeps without asking
// whether the encoded state would be smaller.
const minTail = 8 << 10

// size is what the machine occupies in memory, estimated: a decoded state takes
// about three times its encoding.
func (m *machine) size() (live, encoded int64) {
	encoded = 1024 + int64(len(m.id)+len(m.enc)+120*len(m.keys)) + m.tail.size()
	if m.st != nil {
		live = 256 + 3*int64(len(m.enc)) + int64(len(m.tail.bytes))
	}
	return live, encoded
}

// tail holds the records since an encoded state, in one piece of memory: a
// machine in memory has many, and so they are one thing to the garbage
// collector.
type tail struct {
	bytes []byte
	ends  []int
}

// add copies a record.
func (t *tail) add(b []byte) []byte {
	from := len(t.bytes)
	t.bytes = append(t.bytes, b...)
	t.ends = append(t.ends, len(t.bytes))
	return t.bytes[from:]
}

// record is the i-th one.
func (t *tail) record(i int) []byte {
	from, end := 0, t.ends[i]
	if i > 0 {
		from = t.ends[i-1]
	}
	return t.bytes[from:end:end]
}

// reset keeps only the room.
func (t *tail) reset() { t.bytes, t.ends = t.bytes[:0], t.ends[:0] }

// clone is a copy without spare room.
func (t *tail) clone() tail {
	return tail{slices.Clip(slices.Clone(t.bytes)), slices.Clip(slices.Clone(t.ends))}
}

// size is what it occupies.
func (t *tail) size() int64 { return int64(cap(t.bytes) + 8*cap(t.ends)) }
