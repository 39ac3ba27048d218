package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const sector = 512

var errDisk = errors.New("the disk says no")

// disk is a file with a page cache over a plate that forgets. What was written
// and synced is on the plate; the rest may be, sector by sector, in any picture.
// After a failed sync the pages count as clean: no later sync saves them.
type disk struct {
	t     testing.TB
	dsync bool
	area  [2]int64 // the only bytes that may be written

	mu     sync.Mutex
	cache  []byte
	plate  []byte
	dirty  []change // since the last sync
	unsure []change // by a failed write or sync
	writes int
	ops    int
	fault  func(op int, name string) bool
	during func(c change) // inside a write or sync, before it is durable
}

type change struct {
	off int64
	b   []byte
}

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off > int64(len(d.cache)) {
		return 0, io.EOF
	}
	n := copy(p, d.cache[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (d *disk) op(name string) bool {
	d.ops++
	return d.fault != nil && d.fault(d.ops, name)
}

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	end := off + int64(len(p))
	require.True(d.t, off >= d.area[0] && end <= d.area[1], "write of %d to %d is outside the record area %v", off, end, d.area)
	require.True(d.t, off%Align == 0 && len(p)%Align == 0, "write of %d bytes at %d is not of whole pages", len(p), off)
	d.mu.Lock()
	d.writes++
	c := change{off, slices.Clone(p)}
	if d.op("write") {
		copy(d.cache[off:], p)
		d.unsure = append(d.unsure, c)
		d.mu.Unlock()
		return len(p) / 2, errDisk
	}
	copy(d.cache[off:], p)
	d.dirty = append(d.dirty, c)
	d.mu.Unlock()
	if d.dsync {
		return len(p), d.flush()
	}
	return len(p), nil
}

func (d *disk) Sync() error {
	if d.dsync {
		return nil
	}
	d.mu.Lock()
	fails := d.op("sync")
	if fails {
		d.unsure = append(d.unsure, d.dirty...)
		d.dirty = nil
	}
	d.mu.Unlock()
	if fails {
		return errDisk
	}
	return d.flush()
}

func (d *disk) flush() error {
	d.mu.Lock()
	dirty := d.dirty
	d.mu.Unlock()
	if d.during != nil && len(dirty) > 0 {
		d.during(dirty[len(dirty)-1])
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.dirty {
		copy(d.plate[c.off:], c.b)
		for _, u := range d.unsure { // certain now, there
			from, to := max(c.off, u.off), min(c.off+int64(len(c.b)), u.off+int64(len(u.b)))
			if from < to {
				copy(u.b[from-u.off:to-u.off], c.b[from-c.off:])
			}
		}
	}
	d.dirty = nil
	return nil
}

// picture is a plate after a power cut: of what is not certain each sector may be
// there.
func (d *disk) picture(rng *rand.Rand) []byte {
	img := slices.Clone(d.plate)
	for _, c := range slices.Concat(d.unsure, d.dirty) {
		how := rng.IntN(4)
		for i := 0; i < len(c.b); i += sector {
			if how == 0 || how == 1 && rng.IntN(2) == 0 || how == 2 && i < len(c.b)/2 {
				copy(img[c.off+int64(i):], c.b[i:i+sector])
			}
		}
	}
	return img
}

// after returns a disk that starts with img.
func (d *disk) after(img []byte) *disk {
	return &disk{t: d.t, dsync: d.dsync, area: d.area, cache: slices.Clone(img), plate: slices.Clone(img)}
}

// world is a disk with a ring, the transactional store beside it, and what the
// caller was told.
type world struct {
	t    testing.TB
	rng  *rand.Rand
	disk *disk
	r    Range
	head Head
	id   ID

	// The store: all of it changes in one transaction.
	checkpointed uint64
	salt         Salt
	stored       map[uint64]string

	acked  uint64            // the last lsn that was acknowledged
	groups map[uint64]string // what was last tried under an lsn
	live   []Place           // in the ring since Open
	j      *Journal
	g      Group
}

const (
	testSegment  = 4 * Align
	testSegments = 4
)

func newWorld(t testing.TB, seed uint64, dsync bool) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 7)), r: Range{Offset: 2*Align + 39, Length: (testSegments*4 + 1) * Align},
		id: ID{1, 2, 3}, stored: map[uint64]string{}, groups: map[uint64]string{},
	}
	head, err := NewHead(w.r, testSegment, w.id)
	require.NoError(t, err)
	w.head = head
	require.Equal(t, int64(testSegments), head.Segments)
	file := make([]byte, 2*Align+int64(w.r.Length)+3*Align)
	for i := range file {
		file[i] = 0xaa
	}
	copy(file[w.r.Offset:], make([]byte, w.r.Length))
	copy(file[w.r.Offset:], head.Append(nil))
	start := w.r.Offset + head.Start
	w.disk = &disk{t: t, dsync: dsync, cache: file, plate: slices.Clone(file), area: [2]int64{start, start + testSegments*testSegment}}
	w.salt = w.newSalt()
	w.open()
	return w
}

func (w *world) newSalt() (s Salt) {
	for i := range s {
		s[i] = byte(w.rng.Uint32())
	}
	return s
}

func (w *world) open() {
	j, err := Open(w.disk, w.r, w.id, w.salt, w.checkpointed)
	require.NoError(w.t, err)
	w.j, w.live = j, nil
	require.Equal(w.t, w.checkpointed+1, j.Next())
}

// payload is a random one: mostly small, sometimes up to a segment, now and then
// with the bytes of records in it.
func (w *world) payload() string {
	n := w.rng.IntN(300)
	switch w.rng.IntN(4) {
	case 0:
		n = w.rng.IntN(testSegment - headerSize + 1)
	case 1:
		n = Align - headerSize - 2 + w.rng.IntN(5)
	}
	b := make([]byte, n)
	if w.rng.IntN(2) == 0 {
		for i := range b {
			b[i] = byte(w.rng.Uint32())
		}
	} else if len(w.live) > 0 {
		p := w.live[w.rng.IntN(len(w.live))]
		for at := max(0, Align-headerSize); at < n; at += Align {
			copy(b[at:], w.disk.cache[p.Offset:])
		}
	}
	return string(b)
}

func (w *world) fill(s string) {
	w.g.Reset()
	w.g.Build(func(dst []byte) []byte { return append(dst, s...) })
}

// append tries the next group.
func (w *world) append(s string) error {
	lsn := w.acked + 1
	w.groups[lsn] = s
	w.fill(s)
	p, err := w.j.Append(&w.g)
	require.Equal(w.t, s, string(w.g.Payload()), "Append leaves the group as it is")
	if err == nil {
		require.Equal(w.t, lsn, p.LSN)
		require.Equal(w.t, len(s), p.Length)
		w.acked = lsn
		w.live = append(w.live, p)
	}
	return err
}

// checkpoint stores what Read returns up to lsn to, then calls Checkpointed.
func (w *world) checkpoint(to uint64) {
	for lsn := w.checkpointed + 1; lsn <= to; lsn++ {
		b, err := w.j.Read(lsn, nil)
		require.NoError(w.t, err, "lsn %d", lsn)
		require.Equal(w.t, w.groups[lsn], string(b), "lsn %d", lsn)
		w.stored[lsn] = string(b)
	}
	w.checkpointed = max(w.checkpointed, to)
	require.NoError(w.t, w.j.Checkpointed(to))
}

func (w *world) bypass(s string) {
	w.checkpoint(w.acked)
	lsn := w.j.Next()
	w.groups[lsn], w.stored[lsn] = s, s
	w.checkpointed, w.acked = lsn, lsn
	require.NoError(w.t, w.j.Bypass(lsn))
}

// free reports, from the places alone, whether a group of n bytes fits.
func (w *world) free(n int) bool {
	at := int64(0)
	if len(w.live) > 0 {
		p := w.live[len(w.live)-1]
		at = p.Offset - w.disk.area[0] + Span(p.Length)
		if (at-1)%testSegment+1+Span(n) <= testSegment {
			return true
		}
	}
	next := (at + testSegment - 1) / testSegment % testSegments
	for _, p := range w.live {
		if p.LSN > w.checkpointed && (p.Offset-w.disk.area[0])/testSegment == next {
			return false
		}
	}
	return true
}

// check scans an image and compares with what was promised: everything
// acknowledged, in order, and beyond that at most the one group in flight, whole.
func (w *world) check(img io.ReaderAt, acked uint64) (*Scanned, map[uint64]string, error) {
	s, err := Scan(img, w.r, w.id, w.salt, w.checkpointed)
	if err != nil {
		return nil, nil, err
	}
	have := map[uint64]string{}
	next := w.checkpointed + 1
	for _, rec := range s.Records() {
		switch {
		case rec.LSN != next:
			return nil, nil, fmt.Errorf("record %d, want %d", rec.LSN, next)
		case string(rec.Payload) != w.groups[next]:
			return nil, nil, fmt.Errorf("record %d is not what was written", next)
		}
		have[next] = string(rec.Payload)
		next++
	}
	if last := next - 1; last < acked || last > acked+1 || last != s.Last() {
		return nil, nil, fmt.Errorf("records up to %d (Last %d), acknowledged %d", last, s.Last(), acked)
	}
	return s, have, nil
}

// recover is R1 on the disk d: replay, checkpoint and new salt in one transaction, open.
func (w *world) recover(d *disk) {
	s, have, err := w.check(d, w.acked)
	require.NoError(w.t, err)
	for lsn, b := range have {
		w.stored[lsn] = b
	}
	w.checkpointed, w.acked, w.salt = s.Last(), s.Last(), w.newSalt()
	w.disk = d
	w.open()
}

// finish checks everything once more.
func (w *world) finish() {
	_, have, err := w.check(w.disk, w.acked)
	require.NoError(w.t, err)
	for lsn := uint64(1); lsn <= w.acked; lsn++ {
		b, ok := w.stored[lsn]
		if lsn > w.checkpointed {
			b, ok = have[lsn]
		}
		require.True(w.t, ok, "lsn %d", lsn)
		require.Equal(w.t, w.groups[lsn], b, "lsn %d", lsn)
	}
	c, end := w.disk.cache, w.r.Offset+w.r.Length
	require.Equal(w.t, int(w.r.Offset)+len(c)-int(end), bytes.Count(c[:w.r.Offset], []byte{0xaa})+bytes.Count(c[end:], []byte{0xaa}), "bytes outside the range")
	gap := c[w.r.Offset+HeadSize : w.disk.area[0]]
	require.Equal(w.t, len(gap), bytes.Count(gap, []byte{0}), "bytes before the record area")
	assert.LessOrEqual(w.t, w.checkpointed, w.acked)
}
