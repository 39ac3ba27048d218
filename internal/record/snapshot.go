package record

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Snapshot is an encoded state and the library's facts about it.
type Snapshot struct {
	Kind, ID     string // so that a snapshot without its key can still be attributed
	Seq          uint64
	Version      uint64 // schema version of State
	Phase        string
	Time         int64 // of taking it, microseconds since 1970, UTC
	Created      int64 // of the machine
	Updated      int64 // of the record Seq
	Deleted      bool
	Pinned       bool // a base: never pruned
	Digest       Digest
	Bytes        uint64 // of the machine's records since the base
	Revision     uint64
	RevisionName string
	Mark         uint64
	Reason       string
	Tags         []string
	Keys         []Key
	State        []byte
}

// Key is an idempotency key and the result of the write that it was used for.
type Key struct {
	Name    string
	Sum     uint64 // of the write's contents
	Seq     uint64
	Version uint64
	Phase   string
	Time    int64
}

const snapshotShape = 1

const (
	snapshotDeleted = 1 << 0
	snapshotPinned  = 1 << 1
)

// Append appends the encoding of s to dst; owner is the machine's key.
func (s *Snapshot) Append(dst []byte, owner string) []byte {
	from := len(dst)
	var flags byte
	if s.Deleted {
		flags |= snapshotDeleted
	}
	if s.Pinned {
		flags |= snapshotPinned
	}
	b := append(dst, snapshotShape, flags)
	b = appendString(b, s.Kind)
	b = appendString(b, s.ID)
	b = binary.AppendUvarint(b, s.Seq)
	b = binary.AppendUvarint(b, s.Version)
	b = appendString(b, s.Phase)
	b = binary.AppendVarint(b, s.Time)
	b = binary.AppendVarint(b, s.Created)
	b = binary.AppendVarint(b, s.Updated)
	b = append(b, s.Digest[:]...)
	b = binary.AppendUvarint(b, s.Bytes)
	b = binary.AppendUvarint(b, s.Revision)
	b = appendString(b, s.RevisionName)
	b = binary.AppendUvarint(b, s.Mark)
	b = appendString(b, s.Reason)
	b = appendStrings(b, s.Tags)
	b = binary.AppendUvarint(b, uint64(len(s.Keys)))
	for i := range s.Keys {
		k := &s.Keys[i]
		b = appendString(b, k.Name)
		b = binary.BigEndian.AppendUint64(b, k.Sum)
		b = binary.AppendUvarint(b, k.Seq)
		b = binary.AppendUvarint(b, k.Version)
		b = appendString(b, k.Phase)
		b = binary.AppendVarint(b, k.Time)
	}
	b = append(b, s.State...)
	return seal(b, from, owner)
}

// Pinned reports whether b, an encoded snapshot, is pinned. It reads the first two
// bytes only.
func Pinned(b []byte) bool {
	return len(b) > 1 && b[0] == snapshotShape && b[1]&snapshotPinned != 0
}

// Parse reads a snapshot of owner, the machine's key. State is part of b.
func (s *Snapshot) Parse(b []byte, owner string) error {
	body, err := unseal(b, owner)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	r := reader{b: body}
	if shape := r.byte(); shape != snapshotShape {
		return fmt.Errorf("%w: snapshot of shape %d", ErrNewer, shape)
	}
	flags := r.byte()
	*s = Snapshot{Deleted: flags&snapshotDeleted != 0, Pinned: flags&snapshotPinned != 0}
	s.Kind = r.string()
	s.ID = r.string()
	s.Seq = r.uvarint()
	s.Version = r.uvarint()
	s.Phase = r.string()
	s.Time = r.varint()
	s.Created = r.varint()
	s.Updated = r.varint()
	copy(s.Digest[:], r.take(uint64(len(s.Digest))))
	s.Bytes = r.uvarint()
	s.Revision = r.uvarint()
	s.RevisionName = r.string()
	s.Mark = r.uvarint()
	s.Reason = r.string()
	s.Tags = r.strings()
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		n = 0
	}
	for range n {
		s.Keys = append(s.Keys, Key{Name: r.string(), Sum: r.fixed64(), Seq: r.uvarint(),
			Version: r.uvarint(), Phase: r.string(), Time: r.varint()})
	}
	if r.bad {
		return errors.New("snapshot: its fields do not match its length")
	}
	s.State = r.b
	return nil
}
