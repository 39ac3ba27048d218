package record

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Head is the library's part of a machine's head.
type Head struct {
	Deleted      bool
	Version      uint64 // schema version of the newest record
	Phase        string
	Created      int64  // microseconds since 1970, UTC
	Updated      int64  // time of the newest record
	Base         uint64 // seq of the snapshot at which the log starts
	Snapshot     uint64 // seq of the newest snapshot
	SnapshotTime int64
	Bytes        uint64 // of all records since the base, uncompressed
	Digest       Digest // after the newest record
	Revision     uint64 // of the newest saved state, versioned strategy
	RevisionName string
	Mark         uint64 // seq of the newest record with an error mark
	Gaps         []Gap  // records that recoveries have given up, ascending
}

// Gap is a range of consecutive records that a recovery has given up.
type Gap struct{ From, To uint64 }

const headShape = 1

// Append appends the encoding of h to dst; owner is the machine's key.
func (h *Head) Append(dst []byte, owner string) []byte {
	from := len(dst)
	var status byte
	if h.Deleted {
		status = 1
	}
	b := append(dst, headShape, status)
	b = binary.AppendUvarint(b, h.Version)
	b = appendString(b, h.Phase)
	b = binary.AppendVarint(b, h.Created)
	b = binary.AppendVarint(b, h.Updated)
	b = binary.AppendUvarint(b, h.Base)
	b = binary.AppendUvarint(b, h.Snapshot)
	b = binary.AppendVarint(b, h.SnapshotTime)
	b = binary.AppendUvarint(b, h.Bytes)
	b = append(b, h.Digest[:]...)
	b = binary.AppendUvarint(b, h.Revision)
	b = appendString(b, h.RevisionName)
	b = binary.AppendUvarint(b, h.Mark)
	b = binary.AppendUvarint(b, uint64(len(h.Gaps)))
	for _, g := range h.Gaps {
		b = binary.AppendUvarint(b, g.From)
		b = binary.AppendUvarint(b, g.To)
	}
	return seal(b, from, owner)
}

// Parse reads the head of owner, the machine's key. It keeps nothing of b.
func (h *Head) Parse(b []byte, owner string) error {
	body, err := unseal(b, owner)
	if err != nil {
		return fmt.Errorf("head: %w", err)
	}
	r := reader{b: body}
	if shape := r.byte(); shape != headShape {
		return fmt.Errorf("%w: head of shape %d", ErrNewer, shape)
	}
	*h = Head{Deleted: r.byte() == 1}
	h.Version = r.uvarint()
	h.Phase = r.string()
	h.Created = r.varint()
	h.Updated = r.varint()
	h.Base = r.uvarint()
	h.Snapshot = r.uvarint()
	h.SnapshotTime = r.varint()
	h.Bytes = r.uvarint()
	copy(h.Digest[:], r.take(uint64(len(h.Digest))))
	h.Revision = r.uvarint()
	h.RevisionName = r.string()
	h.Mark = r.uvarint()
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		n = 0
	}
	for range n {
		h.Gaps = append(h.Gaps, Gap{From: r.uvarint(), To: r.uvarint()})
	}
	if r.bad || len(r.b) > 0 {
		return errors.New("head: its fields do not match its length")
	}
	return nil
}
