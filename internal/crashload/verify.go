package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"

	"github.com/liap-tui/savepoint"
)

// verify checks the file at path as a crash left it, if it exists: it opens the file
// for reading, then for writing, writes, and opens it once more. It returns the
// newest seq of each machine that it found.
func verify(path string) (have map[string]uint64, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	_, err = os.Stat(path)
	absent := errors.Is(err, fs.ErrNotExist)

	read, err := session(path, &savepoint.Options{ReadOnly: true}, nil)
	switch {
	case absent && err == nil:
		return nil, errors.New("a file that does not exist was opened for reading")
	case absent && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("a file that does not exist: %w", err)
	case !absent && err != nil:
		return read.have(), fmt.Errorf("read only: %w", err)
	}

	found, err := session(path, &savepoint.Options{Journal: journal}, func(l *reading) error { return l.continueWriting() })
	if err == nil && !absent {
		err = read.same(found)
	}
	have = found.have()
	if err != nil {
		return have, err
	}
	again, err := session(path, &savepoint.Options{Journal: journal}, nil)
	if err == nil {
		err = found.written.same(again)
	}
	if err != nil {
		return have, fmt.Errorf("opened again: %w", err)
	}
	return have, nil
}

// reading holds what was read from the file after one Open.
type reading struct {
	w         *world
	machines  map[string]*seen
	positions map[uint64]string // the machine of each position
	written   *reading          // heads after continueWriting
}

// seen is one machine.
type seen struct {
	head    savepoint.Head
	tags    uint64
	records []savepoint.Record[game] // nil for a kind without events
	step    []part                   // of the newest record
}

// session opens the file, reads everything, and closes it.
func session(path string, o *savepoint.Options, then func(*reading) error) (*reading, error) {
	l := &reading{machines: map[string]*seen{}, positions: map[uint64]string{}}
	w, err := open(path, o)
	if err != nil {
		return l, err
	}
	l.w = w
	err = l.all()
	if err == nil && then != nil {
		if err = then(l); err != nil {
			err = fmt.Errorf("writing on: %w", err)
		}
	}
	if e := w.db.Close(); e != nil {
		err = errors.Join(err, fmt.Errorf("close: %w", e))
	}
	return l, err
}

func (l *reading) have() map[string]uint64 {
	have := map[string]uint64{}
	for name, m := range l.machines {
		have[name] = m.head.Seq
		if m.tags > 0 {
			have[tagsOf(name)] = m.tags
		}
	}
	return have
}

// same returns an error unless both hold the same machines at the same seqs.
func (l *reading) same(o *reading) error {
	for name, m := range l.machines {
		other := o.machines[name]
		if other == nil {
			return fmt.Errorf("%s existed and does not any more", name)
		}
		if a, b := m.head, other.head; a.Seq != b.Seq || a.Pos != b.Pos || a.Phase != b.Phase || a.Revision != b.Revision ||
			!a.Created.Equal(b.Created) || !a.Updated.Equal(b.Updated) || m.tags != other.tags {
			return fmt.Errorf("%s was %+v with %d tags and is %+v with %d", name, a, m.tags, b, other.tags)
		}
	}
	if len(l.machines) != len(o.machines) {
		return fmt.Errorf("there were %d machines and are %d", len(l.machines), len(o.machines))
	}
	return nil
}

// all reads everything. It stores the seqs first, so that they are known even if it
// fails later.
func (l *reading) all() error {
	for _, k := range kinds {
		for h, err := range l.w.stores[k.name].List(ctx, savepoint.ListOptions{Deleted: true}) {
			if err != nil {
				return fmt.Errorf("list of %s: %w", k.name, err)
			}
			if h.Kind != k.name || h.Deleted {
				return fmt.Errorf("%s/%s is deleted, or of another kind", h.Kind, h.ID)
			}
			l.machines[nameOf(h.Kind, h.ID)] = &seen{head: h}
		}
	}
	for name, m := range l.machines {
		if err := l.machine(name, m); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, m := range l.machines {
		if err := l.whole(name, m); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := l.inOrder(); err != nil {
		return fmt.Errorf("in the order of positions: %w", err)
	}
	if q := l.w.db.Quarantined(); len(q) > 0 {
		return fmt.Errorf("in quarantine: %w", q[0])
	}
	if n := l.w.db.Stats().Machines; n != int64(len(l.machines)) {
		return fmt.Errorf("the file counts %d machines, there are %d", n, len(l.machines))
	}
	return nil
}

// machine reads one machine in every way.
func (l *reading) machine(name string, m *seen) error {
	s, id := l.w.at(name)
	st, err := s.Load(ctx, id)
	if err != nil {
		return err
	}
	seq := m.head.Seq
	if st.Seq != seq || st.Phase != m.head.Phase || st.Phase != phaseAt(seq) || st.Pos != m.head.Pos {
		return fmt.Errorf("listed at %d (%s, position %d), loaded at %d (%s, position %d)",
			seq, m.head.Phase, m.head.Pos, st.Seq, st.Phase, st.Pos)
	}
	if what := st.Value.differs(name, seq); what != "" {
		return fmt.Errorf("loaded at %d: %s", seq, what)
	}
	m.step = st.Value.Step
	if err := l.records(s, id, name, m); err != nil {
		return err
	}
	if err := l.points(s, id, name, m); err != nil {
		return err
	}
	if s.Kind() == statesOnly {
		return nil
	}
	rep, err := s.Verify(ctx, id)
	if err != nil {
		return err
	}
	if !rep.OK() || len(rep.Gaps) > 0 || rep.Head != seq || uint64(rep.Events) != seq {
		return fmt.Errorf("verify: %+v", rep)
	}
	return nil
}

// records reads the machine's events.
func (l *reading) records(s *savepoint.Store[game], id, name string, m *seen) error {
	var want, revision, pos uint64
	for rec, err := range s.Events(ctx, id, savepoint.EventRange{}) {
		want++
		if err != nil {
			return fmt.Errorf("record %d: %w", want, err)
		}
		if rec.Seq != want {
			return fmt.Errorf("record %d follows %d", rec.Seq, want-1)
		}
		if rec.Pos <= pos {
			return fmt.Errorf("record %d has position %d, the one before it %d", rec.Seq, rec.Pos, pos)
		}
		pos = rec.Pos
		if other, taken := l.positions[pos]; taken {
			return fmt.Errorf("record %d has position %d, like one of %s", rec.Seq, pos, other)
		}
		l.positions[pos] = name
		if saves(name, rec.Seq) {
			revision++
		}
		if err := checkRecord(&rec, name, revision); err != nil {
			return fmt.Errorf("record %d: %w", rec.Seq, err)
		}
		m.records = append(m.records, rec)
	}
	if s.Kind() == statesOnly {
		if want > 0 {
			return errors.New("has records, although its strategy stores no records")
		}
		return nil
	}
	if want != m.head.Seq || pos != m.head.Pos {
		return fmt.Errorf("records end at %d (position %d), the head says %d (%d)", want, pos, m.head.Seq, m.head.Pos)
	}
	if s.Kind() == versioned && m.head.Revision != revision {
		return fmt.Errorf("revision is %d after %d saves", m.head.Revision, revision)
	}
	return nil
}

// checkRecord compares every byte of a record with what was written.
func checkRecord(rec *savepoint.Record[game], name string, revision uint64) error {
	step, body, seq := stepOf(rec), []byte(nil), rec.Seq
	switch e := rec.Event.(type) {
	case moved:
		body, seq = e.Body, e.Seq
	case *painted:
		body, seq = e.body(), e.Seq
	case *savepoint.Replaced[game]:
		if what := e.State.differs(name, rec.Seq); what != "" {
			return errors.New("saved state: " + what)
		}
		body = e.State.Last
	default:
		return fmt.Errorf("is a %T", rec.Event)
	}
	wantName := "moved"
	if big(name, rec.Seq) {
		wantName = "painted"
	}
	if saves(name, rec.Seq) {
		wantName = "_replaced"
		if rec.Reason != "saved" || rec.Kind == versioned && rec.Revision != revision {
			return fmt.Errorf("was saved because %q, as revision %d", rec.Reason, rec.Revision)
		}
	}
	p := mine(step, name)
	if rec.Seq < p.Lo || rec.Seq > p.Hi {
		return fmt.Errorf("carries the step %v", step)
	}
	key := ""
	if len(step) == 1 && keyed(name, p.Lo) {
		key = keyAt(p.Lo)
	}
	switch {
	case rec.Kind+"/"+rec.ID != name:
		return fmt.Errorf("is of %s/%s", rec.Kind, rec.ID)
	case rec.Name != wantName:
		return fmt.Errorf("is %q, not %q", rec.Name, wantName)
	case seq != rec.Seq:
		return fmt.Errorf("holds event %d", seq)
	case !slices.Equal(body, bodyAt(name, rec.Seq)):
		return errors.New("holds wrong bytes")
	case rec.To != phaseAt(rec.Seq) || rec.From != phaseAt(rec.Seq-1):
		return fmt.Errorf("leads from %q to %q", rec.From, rec.To)
	case rec.Actor != actorAt(name, p.Lo):
		return fmt.Errorf("is by %q", rec.Actor)
	case rec.Key != key:
		return fmt.Errorf("has the key %q, not %q", rec.Key, key)
	case !slices.Equal(rec.Tags, []string{"crash", phaseAt(p.Lo)}):
		return fmt.Errorf("has the tags %q", rec.Tags)
	}
	return nil
}

func stepOf(rec *savepoint.Record[game]) []part {
	switch e := rec.Event.(type) {
	case moved:
		return e.Step
	case *painted:
		return e.Step
	case *savepoint.Replaced[game]:
		return e.State.Step
	}
	return nil
}

// mine returns the part of a machine in a step.
func mine(step []part, name string) part {
	for _, p := range step {
		if p.Machine == name {
			return p
		}
	}
	return part{}
}

// whole checks that each step of which the machine holds a part is complete.
func (l *reading) whole(name string, m *seen) error {
	for i := range m.records {
		if err := l.complete(stepOf(&m.records[i])); err != nil {
			return fmt.Errorf("record %d: %w", m.records[i].Seq, err)
		}
	}
	if p := mine(m.step, name); p.Hi != m.head.Seq {
		return fmt.Errorf("the newest record is %d, of a step %v", m.head.Seq, m.step)
	}
	return l.complete(m.step)
}

func (l *reading) complete(step []part) error {
	for _, p := range step {
		m := l.machines[p.Machine]
		if m == nil || m.head.Seq < p.Hi {
			return fmt.Errorf("half a step: %v, and %s is shorter", step, p.Machine)
		}
		if m.records == nil && m.head.Seq == p.Hi && !slices.Equal(m.step, step) {
			return fmt.Errorf("half a step: %v, and %s is at another, %v", step, p.Machine, m.step)
		}
		for seq := p.Lo; seq <= p.Hi && m.records != nil; seq++ {
			if other := stepOf(&m.records[seq-1]); !slices.Equal(other, step) {
				return fmt.Errorf("half a step: %v, and record %d of %s is of another, %v", step, seq, p.Machine, other)
			}
		}
	}
	return nil
}

// points reads the machine at earlier points: at every snapshot, and at some records
// by seq, time and revision.
func (l *reading) points(s *savepoint.Store[game], id, name string, m *seen) error {
	at := func(p savepoint.Point, want uint64) error {
		st, err := s.At(ctx, id, p)
		if err != nil {
			return fmt.Errorf("at %s: %w", p, err)
		}
		if what := st.Value.differs(name, want); what != "" || st.Seq != want || st.Phase != phaseAt(want) {
			return fmt.Errorf("at %s: %d (%s), not %d: %s", p, st.Seq, st.Phase, want, what)
		}
		return nil
	}
	head, newest := m.head.Seq, uint64(0)
	for info, err := range s.Snapshots(ctx, id, savepoint.SnapshotRange{}) {
		if err == nil {
			err = info.Err
		}
		if err != nil {
			return fmt.Errorf("snapshot %d: %w", info.Seq, err)
		}
		if info.Seq > head || info.Phase != phaseAt(info.Seq) || info.Base != (m.records != nil && info.Seq == 0 || m.records == nil && info.Seq == head) {
			return fmt.Errorf("snapshot %+v", info)
		}
		if err := at(savepoint.AtSnapshot(info.Seq), info.Seq); err != nil {
			return err
		}
		newest = info.Seq
	}
	if m.records == nil && newest != head {
		return fmt.Errorf("the newest state is of %d, the head %d", newest, head)
	}
	tags, err := tagged(s, id)
	if err != nil {
		return err
	}
	m.tags = uint64(len(tags))
	if err := at(savepoint.Latest(), head); err != nil {
		return err
	}
	if _, err := s.At(ctx, id, savepoint.AtSeq(head+1)); !errors.Is(err, savepoint.ErrNoPoint) {
		return fmt.Errorf("beyond the head: %v", err)
	}
	if m.records == nil {
		return nil
	}
	for _, seq := range []uint64{0, 1, head / 3, head / 2, head - 1, head} {
		if err := at(savepoint.AtSeq(seq), seq); err != nil {
			return err
		}
	}
	t := m.records[head/2].Time
	last := head
	for m.records[last-1].Time.After(t) {
		last--
	}
	if err := at(savepoint.AtTime(t), last); err != nil {
		return err
	}
	if m.head.Revision > 0 {
		i := slices.IndexFunc(m.records, func(r savepoint.Record[game]) bool { return r.Revision == m.head.Revision })
		return at(savepoint.AtRevision(m.head.Revision), m.records[i].Seq)
	}
	return nil
}

// continueWriting repeats writes that have a key, then writes to every machine and
// to new ones. It stores the resulting heads in l.written.
func (l *reading) continueWriting() error {
	l.written = &reading{machines: map[string]*seen{}}
	names := []string{}
	for name, m := range l.machines {
		if err := l.retry(name, m); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		names = append(names, name)
	}
	for _, k := range kinds {
		names = append(names, nameOf(k.name, "new"))
	}
	slices.Sort(names)
	next := func(name string, n uint64) part {
		var seq uint64
		if m := l.machines[name]; m != nil {
			seq = m.head.Seq
		}
		if m := l.written.machines[name]; m != nil {
			seq = m.head.Seq
		}
		return part{Machine: name, Lo: seq + 1, Hi: seq + n}
	}
	note := func(p part) error {
		s, id := l.w.at(p.Machine)
		st, err := s.Load(ctx, id)
		if err != nil {
			return fmt.Errorf("%s: %w", p.Machine, err)
		}
		if what := st.Value.differs(p.Machine, p.Hi); what != "" || st.Seq != p.Hi {
			return fmt.Errorf("%s: at %d, not %d: %s", p.Machine, st.Seq, p.Hi, what)
		}
		m := &seen{head: st.Head}
		if old := l.machines[p.Machine]; old != nil {
			m.tags = old.tags
		}
		l.written.machines[p.Machine] = m
		return nil
	}
	for i, name := range names {
		s, id := l.w.at(name)
		p := next(name, uint64(1+i%3))
		h, err := submit(s, id, p, []part{p})
		if err == nil && (h.Seq != p.Hi || h.Pos == 0 || l.positions[h.Pos] != "") {
			err = fmt.Errorf("returned %+v for %v", h, p)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := note(p); err != nil {
			return err
		}
	}
	for rest := range slices.Chunk(names, 3) {
		var step []part
		for i, name := range rest {
			step = append(step, next(name, uint64(1+i%2)))
		}
		if err := acrossAll(l.w, step); err != nil {
			return fmt.Errorf("step %v: %w", step, err)
		}
		for _, p := range step {
			if err := note(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// retries is the number of a machine's newest steps whose keys are used again.
const retries = 3

// retry repeats writes that have a key: they must have no effect, and return an
// error if their content differs.
func (l *reading) retry(name string, m *seen) error {
	s, id := l.w.at(name)
	var steps [][]part
	for i := len(m.records) - 1; i >= 0 && len(steps) < retries; {
		step := stepOf(&m.records[i])
		steps = append(steps, step)
		i = int(mine(step, name).Lo) - 2
	}
	if m.records == nil {
		steps = append(steps, m.step)
	}
	for _, step := range steps {
		p := mine(step, name)
		if len(step) > 1 || !keyed(name, p.Lo) {
			continue
		}
		h, err := submit(s, id, p, step)
		if err != nil || h.Seq != p.Hi || h.Phase != phaseAt(p.Hi) {
			return fmt.Errorf("the same key again, for %v: %+v, %w", p, h, err)
		}
		other := stateAt(name, p.Lo, nil)
		other.Sum++
		if _, err := s.Save(ctx, id, other, savepoint.Key(keyAt(p.Lo))); !errors.Is(err, savepoint.ErrKeyReused) {
			return fmt.Errorf("the same key for something else: %v", err)
		}
	}
	st, err := s.Load(ctx, id)
	if err == nil && st.Seq != m.head.Seq {
		err = fmt.Errorf("at %d, not %d", st.Seq, m.head.Seq)
	}
	if err != nil {
		return fmt.Errorf("after the same keys again: %w", err)
	}
	return nil
}
