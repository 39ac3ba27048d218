package savepoint

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/liap-tui/savepoint/internal/codec"
	"github.com/liap-tui/savepoint/internal/record"
)

// Key makes the write idempotent. A second write to the machine with the same key and
// the same content stores nothing and returns the result of the first; with other
// content it is refused with ErrKeyReused. Callbacks of Update all count as the same
// content. A machine remembers its last 256 keys.
func Key(key string) WriteOption {
	return optionFunc(func(o *writeOptions) { o.key = key })
}

// knownKey is an idempotency key that the machine remembers.
type knownKey struct {
	record.Key
	ack *Ack // of the write with the key; nil if the key was loaded
}

// maxKeys is how many idempotency keys a machine remembers.
const maxKeys = 256

// appendKey appends a key to those that a machine remembers, and drops the oldest
// where they are more than maxKeys.
func appendKey(keys []knownKey, k knownKey) []knownKey {
	if k.Name != "" && len(keys) > 0 && keys[len(keys)-1].Name == k.Name {
		keys = keys[:len(keys)-1] // each record of a write carries the write's key
	}
	if len(keys) >= maxKeys {
		keys = append(keys[:0:0], keys[len(keys)-maxKeys+1:]...)
	}
	return append(keys, k)
}

// keyOfRecord returns the idempotency key of record seq.
func keyOfRecord(seq uint64, e *record.Envelope) knownKey {
	return knownKey{Key: record.Key{Name: e.Key, Sum: e.KeySum, Seq: seq, Version: e.Version, Phase: e.To, Time: e.Time}}
}

// draftKey is what a draft knows about the write's idempotency key.
type draftKey struct {
	sum     uint64 // of the write's content; 0 for a callback
	earlier *Ack   // of the write that was done before under the key; or nil
}

// findKey looks up a key among those that the machine remembers, together with the
// sum of the write's content. found means that the write was done before; ack is
// then its Ack. Without a key nothing is found.
func (m *machine) findKey(name string, sum uint64) (ack *Ack, found bool, err error) {
	if name == "" {
		return nil, false, nil
	}
	for i := len(m.keys) - 1; i >= 0; i-- {
		k := &m.keys[i]
		if k.Name != name {
			continue
		}
		if k.Sum != sum {
			return nil, true, fmt.Errorf("%w: %.60q was used for another write, record %d of %s %q", ErrKeyReused, k.Name, k.Seq, m.kind.name, m.id)
		}
		if k.ack != nil {
			return k.ack, true, nil
		}
		h := publicHead(m.kind, m.id, k.Seq, &record.Head{Version: k.Version, Phase: k.Phase,
			Created: m.h.Created, Updated: k.Time})
		if k.Seq == m.seq {
			h = m.head()
		}
		return resolvedAck(h), true, nil
	}
	return nil, false, nil
}

// ackFromKey looks up the draft's key together with the write's content. If the
// write was done before, it keeps the earlier Ack and returns true.
func ackFromKey(d *draft, name string, payload []byte) (bool, error) {
	sum, err := keySum(name, payload)
	if err != nil {
		return false, err
	}
	d.key.sum = sum
	ack, found, err := d.m.findKey(d.opt.key, sum)
	if err == nil && found {
		d.key.earlier = ack
	}
	return found, err
}

// keySum is a hash of a write's event name and content, whatever the order in
// which maps were encoded. It is stored with the key. It is never 0, which is the
// sum of a callback.
func keySum(name string, payload []byte) (uint64, error) {
	doc, err := codec.Document(payload)
	if err != nil {
		return 0, fmt.Errorf("%w: event %q as a document: %w", ErrBadEvent, name, err)
	}
	h := sha256.New()
	codec.SumDocument(h, name)
	codec.SumDocument(h, doc)
	return max(1, binary.BigEndian.Uint64(h.Sum(nil))), nil
}

// newKey returns the draft's key as the machine will remember it.
func newKey(d *draft, ack *Ack) knownKey {
	return knownKey{Key: record.Key{Name: d.opt.key, Sum: d.key.sum, Seq: d.seq,
		Version: d.h.Version, Phase: d.h.Phase, Time: d.h.Updated}, ack: ack}
}

// keysAfter returns the keys that the machine remembers after the draft's write.
func keysAfter(d *draft) []record.Key {
	keys := d.m.keys
	if d.opt.key != "" && d.seq > d.m.seq {
		keys = appendKey(slices.Clone(keys), newKey(d, nil))
	}
	out := make([]record.Key, len(keys))
	for i := range keys {
		out[i] = keys[i].Key
	}
	return out
}
