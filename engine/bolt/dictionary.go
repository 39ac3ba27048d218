package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/liap-tui/savepoint/internal/format"
)

// dictionaries holds the dictionaries with which snapshots are compressed: the
// snapshots of one kind have most of their bytes in common, while each of them is
// too short to be compressed well by itself.
//
//  1. A dictionary holds only bytes that snapshots of at least two machines have in
//     common, so that no data of a purged machine alone stays in the file.
//  2. It is stored in the transaction that stores the first snapshots that use it,
//     and is never changed or removed. So every transaction that reads such a
//     snapshot can read the dictionary, and known, whose keys are computed from the
//     dictionaries' bytes, is never outdated.
//  3. It is stored twice, in two buckets, because one wrong byte in it would damage
//     many machines. Opening the file repairs one copy from the other.
//  4. A pinned snapshot is stored without a dictionary, so that machines with
//     events can be rebuilt from it even if a dictionary is lost.
//  5. A kind gets a new dictionary when that saves a tenth; the older ones stay.
type dictionaries struct {
	e       *Engine
	known   sync.Map            // id -> *format.Dictionary
	samples map[uint32]*samples // by kind; used in write transactions only
}

// dictionaryKeyLen is the length of a key in dictionaries and copies: number of
// the kind 4, and number of the dictionary among those of the kind, from 1, 4.
const dictionaryKeyLen = 8

func dictionaryKey(kind, generation uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, kind), generation)
}

// parse reads the dictionary stored as v under k, nil if it is missing, and adds it
// to the known ones.
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
		return nil, fmt.Errorf("dictionary %x: the value is %s %d of kind %d", k, h.Type, h.Seq, h.Kind)
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
		err = fmt.Errorf("another dictionary has the id %08x too", d.ID())
	}
	if err != nil {
		return nil, fmt.Errorf("dictionary %x: %w", k, err)
	}
	return d, nil
}

// learn adds a dictionary to the known ones; ok is false if another one has its id.
func (b *dictionaries) learn(d *format.Dictionary) (ok bool) {
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

// newest returns the newest good dictionary of a kind, nil if the kind has none, and the
// number of dictionaries that were made for the kind.
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

// decode decodes a payload that was encoded with one of the file's
// dictionaries. The scratch buffer is used as in [format.Decode].
func (b *dictionaries) decode(scratch, payload []byte, raw uint32) (decoded, newScratch []byte, err error) {
	id, err := format.DictionaryID(payload)
	if err != nil {
		return nil, scratch, err
	}
	d, ok := b.known.Load(id)
	if !ok {
		if err := b.e.view(func(tx *txn) error { b.readAll(tx); return nil }); err != nil {
			return nil, scratch, err
		}
		if d, ok = b.known.Load(id); !ok {
			return nil, scratch, fmt.Errorf("its dictionary %08x is missing or damaged", id)
		}
	}
	return d.(*format.Dictionary).Decode(scratch, payload, raw)
}

// readAll adds all good dictionaries of the file to the known ones.
func (b *dictionaries) readAll(tx *txn) {
	for _, t := range []*tree{&tx.dictionaries, &tx.copies} {
		if !t.there() {
			continue
		}
		cur := t.cursor()
		for k, v := cur.first(); k != nil; k, v = cur.next() {
			b.parse(k, v) // a damaged one may have a good copy; decode reports it if not
		}
	}
}

// repairCopies rewrites a missing or damaged copy of a dictionary from the other
// one, and returns the number of copies written.
func (b *dictionaries) repairCopies(tx *txn) (repaired int, err error) {
	for _, pair := range [][2]*tree{{&tx.dictionaries, &tx.copies}, {&tx.copies, &tx.dictionaries}} {
		from, to := pair[0], pair[1]
		var keys [][]byte
		cur := from.cursor()
		for k, v := cur.first(); k != nil; k, v = cur.next() {
			if _, err := b.parse(k, v); err != nil {
				continue
			}
			if _, err := b.parse(k, to.get(k)); err != nil {
				keys = append(keys, bytes.Clone(k))
			}
		}
		for _, k := range keys {
			if err := to.put(k, bytes.Clone(from.get(k))); err != nil {
				return repaired, err
			}
			repaired++
		}
	}
	return repaired, nil
}

// choose returns the dictionary for each kind among the snapshots to be
// stored. If enough samples make a better one than the kind has, it stores that one
// first.
func (b *dictionaries) choose(w *bucketWriter, snapshots []pendingSnapshot) (map[uint32]*format.Dictionary, error) {
	if len(snapshots) == 0 || w.opt.noCompression {
		return nil, nil
	}
	counts := map[uint32]int{}
	for i := range snapshots {
		if !snapshots[i].drop {
			counts[snapshots[i].kind]++
		}
	}
	chosen := map[uint32]*format.Dictionary{}
	for kind, n := range counts {
		s := b.samplesOf(kind, w.opt.dictionaryDue)
		s.sample(snapshots, kind, max(1, n/(4*sampledMachines)))
		d, generations := b.newest(w.tx, kind)
		if s.ready() && generations < maxDictionaries {
			b.readAll(w.tx) // a new dictionary must not have the id of another
			if better := s.better(d); better != nil && b.learn(better) {
				d = better
				if err := b.put(w, kind, generations+1, d); err != nil {
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

// samplesOf returns the samples of a kind. New ones wait for due snapshots before
// a dictionary is made.
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

// forget removes the sample of a machine that is purged.
func (b *dictionaries) forget(number uint64) {
	for _, s := range b.samples {
		s.of = slices.DeleteFunc(s.of, func(have machineSample) bool { return have.number == number })
	}
}

// put stores a dictionary in both buckets.
func (b *dictionaries) put(w *bucketWriter, kind, generation uint32, d *format.Dictionary) error {
	key := dictionaryKey(kind, generation)
	h := format.Header{Type: format.TypeDictionary, Kind: kind, Number: uint64(d.ID()), Seq: uint64(generation)}
	text := w.encode(&h, d.Bytes(), nil)
	for _, t := range []*tree{&w.tx.dictionaries, &w.tx.copies} {
		if err := t.put(key, format.AppendValue(nil, &h, text, nil)); err != nil {
			return err
		}
	}
	return nil
}
