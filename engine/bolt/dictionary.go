package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/liap-tui/savepoint/internal/format"
)

// dictionaries are the dictionaries that snapshots are compressed with: the
// snapshots of one kind have most of their bytes in common, and each is too short
// to be worth much by itself.
//
//  1. A dictionary holds what snapshots of at least two machines have in common,
//     so that a purged machine leaves nothing behind that only it had.
//  2. It is stored in the transaction that stores the first snapshots that use
//     it, and never changed or removed. So what a transaction sees of it is all
//     there is to see, and known, whose keys follow from its bytes, is never stale.
//  3. It is stored twice, in buckets of their own: one wrong byte in it would
//     damage many machines. Opening puts right what one of the two has lost.
//  4. A base is stored without one: where a dictionary is lost all the same, the
//     machines that have events are rebuilt from them.
//  5. A kind gets a new one where that saves a tenth; the older ones stay.
type dictionaries struct {
	known   sync.Map            // id -> *format.Dictionary
	samples map[uint32]*samples // by kind; touched in write transactions only
}

// dictionaryKeyLen is the length of a key in dictionaries and copies: number of
// the kind and which of its dictionaries it is, from 1.
const dictionaryKeyLen = 8

func dictionaryKey(kind, generation uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, kind), generation)
}

// parse reads a stored dictionary and remembers it. v may be nil.
func (b *dictionaries) parse(k, v []byte) (*format.Dictionary, error) {
	if v == nil {
		return nil, fmt.Errorf("dictionary %x is missing", k)
	}
	h, payload, err := format.ParseValue(v, format.LongestDictionary)
	switch {
	case err != nil:
		return nil, fmt.Errorf("dictionary %x: %w", k, err)
	case h.Type != format.TypeDictionary || h.Flags != 0 || len(k) != dictionaryKeyLen ||
		h.Kind != binary.BigEndian.Uint32(k) || h.Seq != uint64(binary.BigEndian.Uint32(k[4:])):
		return nil, fmt.Errorf("dictionary %x: it is %s %d of kind %d", k, h.Type, h.Seq, h.Kind)
	}
	text, _, err := format.Decode(nil, h.Codec, payload, h.Raw)
	if err != nil {
		return nil, fmt.Errorf("dictionary %x: %w", k, err)
	}
	if d, ok := b.known.Load(uint32(h.Number)); ok && bytes.Equal(d.(*format.Dictionary).Bytes(), text) {
		return d.(*format.Dictionary), nil
	}
	d, err := format.NewDictionary(bytes.Clone(text))
	if err == nil && !b.learn(d) {
		err = fmt.Errorf("another one has its id %08x", d.ID())
	}
	if err != nil {
		return nil, fmt.Errorf("dictionary %x: %w", k, err)
	}
	return d, nil
}

// learn remembers a dictionary, unless another one has its id.
func (b *dictionaries) learn(d *format.Dictionary) bool {
	have, _ := b.known.LoadOrStore(d.ID(), d)
	return bytes.Equal(have.(*format.Dictionary).Bytes(), d.Bytes())
}

// get reads a dictionary or its copy.
func (b *dictionaries) get(tx *txn, k []byte) (*format.Dictionary, error) {
	d, err := b.parse(k, tx.dictionaries.get(k))
	if err != nil && tx.copies.there() {
		if d, err2 := b.parse(k, tx.copies.get(k)); err2 == nil {
			return d, nil
		}
	}
	return d, err
}

// newest is the newest good dictionary of a kind, if there is one, and how many
// the kind has or had.
func (b *dictionaries) newest(tx *txn, kind uint32) (d *format.Dictionary, generations uint32) {
	for _, t := range []*tree{&tx.dictionaries, &tx.copies} {
		if k, _ := t.cursor().before(dictionaryKey(kind, ^uint32(0))); len(k) == dictionaryKeyLen && binary.BigEndian.Uint32(k) == kind {
			generations = max(generations, binary.BigEndian.Uint32(k[4:]))
		}
	}
	for n := generations; n > 0; n-- {
		if d, err := b.get(tx, dictionaryKey(kind, n)); err == nil {
			return d, generations
		}
	}
	return nil, generations
}

// decodeShared decodes a payload that was encoded with one of the file's
// dictionaries.
func (e *Engine) decodeShared(room, payload []byte, raw uint32) (decoded, newRoom []byte, err error) {
	id, err := format.DictionaryID(payload)
	if err != nil {
		return nil, room, err
	}
	b := &e.dictionaries
	d, ok := b.known.Load(id)
	if !ok {
		if err := e.view(func(tx *txn) error { b.readAll(tx); return nil }); err != nil {
			return nil, room, err
		}
		if d, ok = b.known.Load(id); !ok {
			return nil, room, fmt.Errorf("its dictionary %08x is missing or damaged", id)
		}
	}
	return d.(*format.Dictionary).Decode(room, payload, raw)
}

// readAll gets to know all good dictionaries.
func (b *dictionaries) readAll(tx *txn) {
	for _, t := range []*tree{&tx.dictionaries, &tx.copies} {
		if !t.there() {
			continue
		}
		cur := t.cursor()
		for k, v := cur.first(); k != nil; k, v = cur.next() {
			b.parse(k, v) // a bad one may have a good copy; who needs it and has none says so
		}
	}
}

// repairCopies puts a good dictionary where its copy is missing or damaged.
func (b *dictionaries) repairCopies(tx *txn) (mended int, err error) {
	for _, way := range [][2]*tree{{&tx.dictionaries, &tx.copies}, {&tx.copies, &tx.dictionaries}} {
		var keys [][]byte
		cur := way[0].cursor()
		for k, v := cur.first(); k != nil; k, v = cur.next() {
			if _, err := b.parse(k, v); err != nil {
				continue
			}
			if _, err := b.parse(k, way[1].get(k)); err != nil {
				keys = append(keys, bytes.Clone(k))
			}
		}
		for _, k := range keys {
			if err := way[1].put(k, bytes.Clone(way[0].get(k))); err != nil {
				return mended, err
			}
			mended++
		}
	}
	return mended, nil
}

// chooseDictionaries looks at the snapshots of a group and tells which
// dictionary each kind among them takes; where a better one can be made of them
// and those before, it is stored.
func (g *batch) chooseDictionaries() (map[uint32]*format.Dictionary, error) {
	b := &g.e.dictionaries
	if len(g.snapshots) == 0 || g.e.opt.noCompression {
		return nil, nil
	}
	counts := map[uint32]int{}
	for i := range g.snapshots {
		if !g.snapshots[i].drop {
			counts[g.snapshots[i].kind]++
		}
	}
	chosen := map[uint32]*format.Dictionary{}
	for kind, n := range counts {
		s := b.samplesOf(kind, g.e.opt.dictionaryDue)
		s.sample(g.snapshots, kind, max(1, n/(4*sampledMachines)))
		d, generations := b.newest(g.tx, kind)
		if s.ready() && generations < mostOfKind {
			b.readAll(g.tx) // a new one must not have the id of another
			if better := s.better(d); better != nil && b.learn(better) {
				d = better
				if err := g.putDictionary(kind, generations+1, d); err != nil {
					return nil, err
				}
			}
		}
		if d != nil {
			chosen[kind] = d
		}
	}
	return chosen, nil
}

// samplesOf are those of a kind, with so many snapshots to wait for at first.
func (b *dictionaries) samplesOf(kind uint32, due int) *samples {
	if b.samples == nil {
		b.samples = map[uint32]*samples{}
	}
	s := b.samples[kind]
	if s == nil {
		s = &samples{due: due}
		b.samples[kind] = s
	}
	return s
}

// forget drops the sample of a machine that is purged.
func (b *dictionaries) forget(number uint64) {
	for _, s := range b.samples {
		s.of = slices.DeleteFunc(s.of, func(have machineSample) bool { return have.number == number })
	}
}

// putDictionary stores a dictionary twice.
func (g *batch) putDictionary(kind, generation uint32, d *format.Dictionary) error {
	key := dictionaryKey(kind, generation)
	h := format.Header{Type: format.TypeDictionary, Kind: kind, Number: uint64(d.ID()), Seq: uint64(generation)}
	text := g.encode(&h, d.Bytes(), nil)
	for _, t := range []*tree{&g.tx.dictionaries, &g.tx.copies} {
		if err := t.put(key, format.AppendValue(nil, &h, text, nil)); err != nil {
			return err
		}
	}
	return nil
}
