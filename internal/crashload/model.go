package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"github.com/liap-tui/savepoint"
)

// Everything in a machine is a function of its name and a seq, except which records
// were written together. So each record, and each state, holds the whole step that
// it belongs to. A reader can check every byte, and that each step is complete.

// part describes the records Lo to Hi of one machine.
type part struct {
	Machine string
	Lo, Hi  uint64
}

// game is the state of every machine here.
type game struct {
	Machine string
	Seq     uint64
	Sum     uint64         // of all bodies
	Trail   []uint64       // the sums after the last records, the newest last
	Sizes   map[int]uint64 // of the last bodies, by seq
	Last    []byte         // the newest body
	Step    []part         // the step of the newest record
}

// trail is the number of records in Trail and Sizes.
const trail = 8

// moved is the ordinary event.
type moved struct {
	Seq  uint64
	Step []part
	Body []byte
}

// Check refuses a move out of turn.
func (e moved) Check(g *game, m savepoint.Meta) error { return inTurn(g, m, e.Seq) }

// Apply makes the move.
func (e moved) Apply(g *game, m savepoint.Meta) error {
	g.advance(m, e.Body, e.Step)
	return nil
}

// painted is the big event, which is registered by pointer.
type painted struct {
	Seq    uint64
	Step   []part
	Pieces map[int][]byte
}

// pieceSize is the length of all pieces but the last.
const pieceSize = 2000

// Check refuses a move out of turn.
func (e *painted) Check(g *game, m savepoint.Meta) error { return inTurn(g, m, e.Seq) }

// Apply makes the move.
func (e *painted) Apply(g *game, m savepoint.Meta) error {
	g.advance(m, e.body(), e.Step)
	return nil
}

func (e *painted) body() []byte {
	var b []byte
	for i := range len(e.Pieces) {
		b = append(b, e.Pieces[i]...)
	}
	return b
}

func inTurn(g *game, m savepoint.Meta, seq uint64) error {
	if seq != g.Seq+1 || seq != m.Seq {
		return fmt.Errorf("move %d as record %d, after %d", seq, m.Seq, g.Seq)
	}
	return nil
}

func (g *game) advance(m savepoint.Meta, body []byte, step []part) {
	g.Machine = nameOf(m.Kind, m.ID)
	g.Seq++
	g.Sum = chain(g.Sum, body)
	if g.Trail = append(g.Trail, g.Sum); len(g.Trail) > trail {
		g.Trail = slices.Delete(g.Trail, 0, len(g.Trail)-trail)
	}
	if g.Sizes == nil {
		g.Sizes = map[int]uint64{}
	}
	g.Sizes[int(g.Seq)] = uint64(len(body))
	delete(g.Sizes, int(g.Seq)-trail)
	g.Last, g.Step = body, step
}

func (g *game) phase() string { return phaseAt(g.Seq) }

// differs returns the difference between g and the state of the machine after seq,
// "" if they are equal.
func (g *game) differs(machine string, seq uint64) string {
	want := stateAt(machine, seq, nil)
	switch {
	case g.Machine != want.Machine:
		return fmt.Sprintf("machine is %q", g.Machine)
	case g.Seq != want.Seq:
		return fmt.Sprintf("seq is %d", g.Seq)
	case g.Sum != want.Sum:
		return "sum is wrong"
	case !slices.Equal(g.Trail, want.Trail):
		return "trail is wrong"
	case !maps.Equal(g.Sizes, want.Sizes):
		return "sizes are wrong"
	case !bytes.Equal(g.Last, want.Last):
		return "the newest body is wrong"
	}
	return ""
}

func chain(sum uint64, body []byte) uint64 {
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint64(nil, sum))
	h.Write(body)
	return h.Sum64()
}

// hashAt returns the random number for one use at a seq of a machine.
func hashAt(machine string, seq uint64, use string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(machine + "|" + use))
	return mix(h.Sum64() + seq*0x9e3779b97f4a7c15)
}

func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// big reports whether the event at seq has several KB.
func big(machine string, seq uint64) bool { return hashAt(machine, seq, "big")%23 == 0 }

// saves reports whether the record at seq is a Save.
func saves(machine string, seq uint64) bool { return hashAt(machine, seq, "save")%11 == 0 }

// keyed reports whether the write that starts at lo has a key, if it is of one
// machine.
func keyed(machine string, lo uint64) bool { return hashAt(machine, lo, "key")%3 == 0 }

func keyAt(lo uint64) string { return fmt.Sprint("key-", lo) }

func actorAt(machine string, lo uint64) string {
	return fmt.Sprint("seat-", hashAt(machine, lo, "actor")%4)
}

var phases = [...]string{"deal", "turn", "score"}

func phaseAt(seq uint64) string { return phases[seq%uint64(len(phases))] }

// bodyAt returns the body of the record at seq. Half of the bodies compress well.
func bodyAt(machine string, seq uint64) []byte {
	x := hashAt(machine, seq, "body")
	n := 20 + int(x%200)
	if big(machine, seq) {
		n = 5000 + int(x%6000)
	}
	b := make([]byte, 0, n+32)
	for i := uint64(0); len(b) < n; i++ {
		if v := mix(x + i); x&(1<<40) == 0 {
			b = binary.LittleEndian.AppendUint64(b, v)
		} else {
			b = append(b, "hearts spades clubs diamonds trump "[v%7*5:][:5]...)
		}
	}
	return b[:n]
}

// sums holds the sums after each record, by machine; the first is that of seq 0.
type sums map[string][]uint64

// chains caches the sums for the whole process; known is its lock.
var (
	chains = sums{}
	known  = make(chan struct{}, 1)
)

func sumAt(machine string, seq uint64) uint64 {
	known <- struct{}{}
	defer func() { <-known }()
	c := chains[machine]
	if len(c) == 0 {
		c = []uint64{0}
	}
	for s := uint64(len(c)); s <= seq; s++ {
		c = append(c, chain(c[s-1], bodyAt(machine, s)))
	}
	chains[machine] = c
	return c[seq]
}

// stateAt returns the state right after record seq.
func stateAt(machine string, seq uint64, step []part) game {
	if seq == 0 {
		return game{}
	}
	g := game{Machine: machine, Seq: seq, Sum: sumAt(machine, seq), Sizes: map[int]uint64{}, Last: bodyAt(machine, seq), Step: step}
	for s := max(trail, seq) - trail + 1; s <= seq; s++ {
		g.Trail = append(g.Trail, sumAt(machine, s))
		g.Sizes[int(s)] = uint64(len(bodyAt(machine, s)))
	}
	return g
}

// eventAt returns the event of record seq.
func eventAt(machine string, seq uint64, step []part) savepoint.Event[game] {
	body := bodyAt(machine, seq)
	if !big(machine, seq) {
		return moved{Seq: seq, Step: step, Body: body}
	}
	e := &painted{Seq: seq, Step: step, Pieces: map[int][]byte{}}
	for piece := range slices.Chunk(body, pieceSize) {
		e.Pieces[len(e.Pieces)] = piece
	}
	return e
}

// options returns the options of the write of p.
func options(p part, alone bool) []savepoint.WriteOption {
	o := []savepoint.WriteOption{savepoint.By(actorAt(p.Machine, p.Lo)), savepoint.IfSeq(p.Lo - 1), savepoint.Tag("crash", phaseAt(p.Lo))}
	if alone && keyed(p.Machine, p.Lo) {
		o = append(o, savepoint.Key(keyAt(p.Lo)))
	}
	return o
}

// fill appends the records of p within an Update.
func fill(m *savepoint.Machine[game], p part, step []part) error {
	if h := m.Head(); h.Seq != p.Lo-1 {
		return fmt.Errorf("%s is at %d before the write of %d", p.Machine, h.Seq, p.Lo)
	}
	for seq := p.Lo; seq <= p.Hi; seq++ {
		if what := m.State().differs(p.Machine, seq-1); what != "" {
			return fmt.Errorf("%s before record %d: %s", p.Machine, seq, what)
		}
		var err error
		if saves(p.Machine, seq) {
			err = m.Save(stateAt(p.Machine, seq, step))
		} else {
			err = m.Append(eventAt(p.Machine, seq, step))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// kinds has the same game with each strategy.
var kinds = []struct {
	name     string
	strategy savepoint.Strategy
	policy   savepoint.SnapshotPolicy
}{
	{"hybrid", savepoint.Hybrid, savepoint.SnapshotPolicy{Events: 7, Keep: 3}},
	{"events", savepoint.EventSourced, savepoint.SnapshotPolicy{Keep: 2}},
	{"states", savepoint.SnapshotOnly, savepoint.SnapshotPolicy{Keep: 4}},
	{"versions", savepoint.Versioned, savepoint.SnapshotPolicy{Events: 9, Keep: 5}},
}

const (
	statesOnly = "states"   // the kind without events
	versioned  = "versions" // the kind with revisions
)

func nameOf(kind, id string) string { return kind + "/" + id }

// nameAt returns the name of machine n.
func nameAt(n int) string { return nameOf(kinds[n%len(kinds)].name, fmt.Sprint(n/len(kinds))) }

// world is an open file with all kinds.
type world struct {
	db     *savepoint.DB
	stores map[string]*savepoint.Store[game]
}

func open(path string, o *savepoint.Options) (*world, error) {
	db, err := savepoint.Open(path, o)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	w := &world{db: db, stores: map[string]*savepoint.Store[game]{}}
	for _, k := range kinds {
		kind := savepoint.Kind[game]{
			Name: k.name, Strategy: k.strategy, Snapshot: k.policy,
			Events: savepoint.Events[game]{"moved": moved{}, "painted": &painted{}},
			Phase:  (*game).phase,
			Legal:  map[string][]string{"deal": {"turn"}, "turn": {"score"}, "score": {"deal"}},
		}
		if k.strategy == savepoint.Hybrid {
			kind.SnapshotWhen = func(g *game) bool { return g.Sum%29 == 0 }
		}
		if w.stores[k.name], err = savepoint.Register(db, kind); err != nil {
			return nil, fmt.Errorf("register: %w; close: %v", err, db.Close())
		}
	}
	return w, nil
}

// at returns the store and the id of a machine.
func (w *world) at(machine string) (*savepoint.Store[game], string) {
	kind, id, _ := strings.Cut(machine, "/")
	return w.stores[kind], id
}
