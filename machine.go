package savepoint

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/liap-tui/savepoint/anomaly"
	"github.com/liap-tui/savepoint/internal/record"
)

// machine is one machine in memory.
//
//  1. lock guards all fields but slot and the atomic ones: commitState, counts.
//  2. seq, h, live, encoded and keys describe one moment: the newest record,
//     queued ones included. commitState says what the engine has.
//  3. The committer takes no lock: it writes commitState and resolves acks.
//  4. live may be nil, for encoded can rebuild it. Once known is set,
//     encoded.state is never nil.
type machine struct {
	kind    *kind
	id, key string
	lock    chan struct{}

	known   bool // the machine was loaded: the fields up to snaps are set
	seq     uint64
	h       record.Head
	live    any          // the first level: the decoded state, a *State[S]
	encoded encodedState // the second level
	keys    []knownKey
	snaps   *snapshotIndex // nil until a pruning needs it

	queueState
	commitState

	pattern  *anomaly.Machine // nil until the anomaly detection sees a write
	counts   machineCounts
	reported machineSize // the size that was last reported to the cache

	slot slot // guarded by the cache's lock
	gone bool // evicted: after a wait for the lock, the machine has to be looked up again
}

// queueState is what a machine knows of its writes that are not durable yet.
type queueState struct {
	queued  uint64      // seq after the newest queued step; without a queued step, that of the engine's head
	newest  *Ack        // of the newest queued step
	unsaved []*Ack      // of writes of Go under SnapshotOnly that no queued step stores yet
	saver   *time.Timer // queues a step for unsaved when it fires
}

func newMachine(k *kind, id string) *machine {
	return &machine{kind: k, id: id, key: keyOf(k.name, id), lock: make(chan struct{}, 1)}
}

// acquire takes the lock, or returns an error when ctx ends first.
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

// exists reports whether the machine exists in the sense of IfSeq and Load.
func (m *machine) exists() bool { return m.seq > 0 && !m.h.Deleted }

// idle reports whether none of the machine's writes is queued or unsaved.
func (m *machine) idle() bool { return m.pending.Load() == 0 && len(m.unsaved) == 0 }

// head returns the public head of the newest record.
func (m *machine) head() Head {
	h := publicHead(m.kind, m.id, m.seq, &m.h)
	if m.durable.Load() == m.seq {
		h.Pos = m.pos.Load()
	}
	if h.Upcast && m.live != nil {
		m.kind.setUpcastPhase(&h, m.kind.value(m.live))
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

// ackForReader returns an Ack that resolves once the state in memory is durable.
func (m *machine) ackForReader() *Ack {
	newest := m.newest
	if n := len(m.unsaved); n > 0 {
		newest = m.unsaved[n-1]
	} else if m.durable.Load() == m.seq && m.pending.Load() == 0 {
		newest = nil
	}
	if newest == nil {
		return resolvedAck(m.head())
	}
	return newest.follow(m.head())
}

// setQueued notes that a step with the machine's newest moment is about to be
// queued; ack is the step's.
func (m *machine) setQueued(ack *Ack) { m.queued, m.newest = m.seq, ack }

// takeUnsaved returns the acks of the unsaved writes, for the step that stores
// them, and stops the timer that would have saved them.
func (m *machine) takeUnsaved() []*Ack {
	acks := m.unsaved
	m.unsaved = nil
	if m.saver != nil {
		m.saver.Stop()
		m.saver = nil
	}
	return acks
}

// forget drops what is known, so that the next use loads the machine from the
// engine.
func (m *machine) forget() {
	m.known, m.seq, m.h = false, 0, record.Head{}
	m.live, m.encoded = nil, encodedState{}
	m.keys, m.snaps = nil, nil
}

// setRebuilt sets the machine to the newest state, as a rebuild returned it.
func (m *machine) setRebuilt(r *rebuiltState) {
	m.known = true
	m.seq, m.h, m.queued = r.seq, r.head, r.seq
	m.live, m.encoded = r.st, encodedState{state: r.enc, seq: r.encSeq, tail: r.tail}
	m.keys = r.keys
	if r.head.Version == m.kind.packed && !r.head.Deleted && m.seq > 0 {
		if phase, err := m.kind.phaseOf(m.kind.value(m.live)); err == nil {
			m.h.Phase = phase // the stored one may be of a newer program that rolled back, with other names of phases
		}
	}
	m.pos.Store(r.pos)
	m.durable.Store(r.seq)
}

// decodeLive rebuilds live from encoded.
func (m *machine) decodeLive() error {
	if m.live != nil {
		return nil
	}
	r := replay{kind: m.kind, id: m.id}
	if err := r.begin(m.encoded.seq, m.encoded.state); err != nil {
		return err
	}
	for i := range m.encoded.tail.ends {
		if err := r.next(m.encoded.seq+uint64(i)+1, m.encoded.tail.record(i)); err != nil {
			return err
		}
	}
	m.live = r.st
	return nil
}

// trim encodes the live state again when the records since the last encoding
// have become much larger than the encoded state.
func (m *machine) trim() {
	if n := len(m.encoded.tail.bytes); n <= minTail || n <= 4*len(m.encoded.state) || m.live == nil {
		return
	}
	state, err := m.kind.encode(m.kind.value(m.live))
	if err != nil {
		return // the records still lead to the state
	}
	m.encoded = encodedState{state: state, seq: m.seq}
}

// machineSize is an estimate, in bytes, of what a machine occupies in memory.
type machineSize struct{ live, encoded int64 }

// size estimates that a decoded state takes three times its encoding.
func (m *machine) size() (s machineSize) {
	s.encoded = 1024 + int64(len(m.id)+len(m.encoded.state)+120*len(m.keys)) + m.encoded.tail.size()
	if m.live != nil {
		s.live = 256 + 3*int64(len(m.encoded.state)) + int64(len(m.encoded.tail.bytes))
	}
	return s
}

// encodedState is an encoded state and the records after it, which lead to the
// machine's newest state.
type encodedState struct {
	state []byte
	seq   uint64 // of state
	tail  tail
}

// current reports whether state is the state at seq, with no record after it.
func (e *encodedState) current(seq uint64) bool { return e.seq == seq && len(e.tail.ends) == 0 }

// reset makes state, at seq, the encoded state and drops all records. It keeps
// the tail's memory.
func (e *encodedState) reset(state []byte, seq uint64) {
	e.state, e.seq = state, seq
	e.tail.reset()
}

// minTail is how many bytes of records encodedState may hold before trim compares
// them with the size of the state.
const minTail = 8 << 10

// tail holds consecutive records in one piece of memory, because a machine may
// have many and the garbage collector should not have to follow each of them.
type tail struct {
	bytes []byte
	ends  []int // where each record ends in bytes
}

// add copies a record to the end and returns the copy.
func (t *tail) add(b []byte) []byte {
	from := len(t.bytes)
	t.bytes = append(t.bytes, b...)
	t.ends = append(t.ends, len(t.bytes))
	return t.bytes[from:]
}

// record returns the record of index i. It is the tail's memory.
func (t *tail) record(i int) []byte {
	from, end := 0, t.ends[i]
	if i > 0 {
		from = t.ends[i-1]
	}
	return t.bytes[from:end:end]
}

// reset drops all records and keeps the memory.
func (t *tail) reset() { t.bytes, t.ends = t.bytes[:0], t.ends[:0] }

// clone returns a copy that has no spare memory.
func (t *tail) clone() tail {
	return tail{slices.Clip(slices.Clone(t.bytes)), slices.Clip(slices.Clone(t.ends))}
}

// size is the number of bytes that the tail occupies.
func (t *tail) size() int64 { return int64(cap(t.bytes) + 8*cap(t.ends)) }
