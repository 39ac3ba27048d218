package record

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Envelope is an event as it is stored: the library's facts about it, and the
// event's own bytes. Its encoding is canonical: an envelope has exactly one
// encoding, which the digest chain covers.
type Envelope struct {
	Time         int64  // microseconds since 1970, UTC
	Version      uint64 // schema version
	Name         string
	From, To     string // phases
	Actor        string
	Origin       uint8
	Reason       string // of a library event
	Key          string // idempotency key, on the last record of its write
	KeySum       uint64
	Cause        string
	Correlation  string
	Tags         []string
	Revision     uint64 // of a saved state, versioned strategy
	RevisionName string
	Mark         uint64 // seq of the record that an error mark is about
	Error        string
	Payload      []byte
}

// The optional fields, each a bit of the envelope's field set. The bits are part
// of the format and are never used for other fields.
const (
	hasTo           = 1 << 0 // To differs from From
	hasActor        = 1 << 1
	hasOrigin       = 1 << 2
	hasReason       = 1 << 3
	hasKey          = 1 << 4
	hasCause        = 1 << 5
	hasCorrelation  = 1 << 6
	hasTags         = 1 << 7
	hasMark         = 1 << 8
	hasError        = 1 << 9
	hasRevision     = 1 << 10
	hasRevisionName = 1 << 11
	envelopeFields  = 1<<12 - 1
)

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// Append appends the encoding of e to dst.
func (e *Envelope) Append(dst []byte) []byte {
	var set uint64
	bit := func(on bool, f uint64) {
		if on {
			set |= f
		}
	}
	bit(e.To != e.From, hasTo)
	bit(e.Actor != "", hasActor)
	bit(e.Origin != 0, hasOrigin)
	bit(e.Reason != "", hasReason)
	bit(e.Key != "", hasKey)
	bit(e.Cause != "", hasCause)
	bit(e.Correlation != "", hasCorrelation)
	bit(len(e.Tags) > 0, hasTags)
	bit(e.Mark != 0, hasMark)
	bit(e.Error != "", hasError)
	bit(e.Revision != 0, hasRevision)
	bit(e.RevisionName != "", hasRevisionName)

	b := binary.AppendUvarint(dst, set)
	b = binary.AppendVarint(b, e.Time)
	b = binary.AppendUvarint(b, e.Version)
	b = appendString(b, e.Name)
	b = appendString(b, e.From)
	if set&hasTo != 0 {
		b = appendString(b, e.To)
	}
	if set&hasActor != 0 {
		b = appendString(b, e.Actor)
	}
	if set&hasOrigin != 0 {
		b = append(b, e.Origin)
	}
	if set&hasReason != 0 {
		b = appendString(b, e.Reason)
	}
	if set&hasKey != 0 {
		b = appendString(b, e.Key)
		b = binary.BigEndian.AppendUint64(b, e.KeySum)
	}
	if set&hasCause != 0 {
		b = appendString(b, e.Cause)
	}
	if set&hasCorrelation != 0 {
		b = appendString(b, e.Correlation)
	}
	if set&hasTags != 0 {
		b = appendStrings(b, e.Tags)
	}
	if set&hasMark != 0 {
		b = binary.AppendUvarint(b, e.Mark)
	}
	if set&hasError != 0 {
		b = appendString(b, e.Error)
	}
	if set&hasRevision != 0 {
		b = binary.AppendUvarint(b, e.Revision)
	}
	if set&hasRevisionName != 0 {
		b = appendString(b, e.RevisionName)
	}
	return append(b, e.Payload...)
}

// Parse reads an envelope. Payload is part of b. Strings are copies, except that a
// string equal to one of like, which may be e itself, shares its memory. Fields
// that already hold the right value are not written, so that an envelope that is
// used for one record after another causes little work for the garbage collector.
func (e *Envelope) Parse(b []byte, like *Envelope) error {
	r := reader{b: b}
	set := r.uvarint()
	if set&^envelopeFields != 0 {
		return fmt.Errorf("%w: envelope with unknown fields %#x", ErrNewer, set)
	}
	var name, phase, actor string
	if like != nil {
		name, phase, actor = like.Name, like.To, like.Actor
	}
	e.Time = r.varint()
	e.Version = r.uvarint()
	r.text(&e.Name, true, name)
	r.text(&e.From, true, phase)
	if set&hasTo != 0 {
		r.text(&e.To, true, phase)
	} else if e.To != e.From {
		e.To = e.From
	}
	r.text(&e.Actor, set&hasActor != 0, actor)
	e.Origin = 0
	if set&hasOrigin != 0 {
		e.Origin = r.byte()
	}
	r.text(&e.Reason, set&hasReason != 0, "")
	r.text(&e.Key, set&hasKey != 0, "")
	e.KeySum = 0
	if set&hasKey != 0 {
		e.KeySum = r.fixed64()
	}
	r.text(&e.Cause, set&hasCause != 0, "")
	r.text(&e.Correlation, set&hasCorrelation != 0, "")
	if set&hasTags != 0 {
		e.Tags = r.strings()
	} else if e.Tags != nil {
		e.Tags = nil
	}
	e.Mark = 0
	if set&hasMark != 0 {
		e.Mark = r.uvarint()
	}
	r.text(&e.Error, set&hasError != 0, "")
	e.Revision = 0
	if set&hasRevision != 0 {
		e.Revision = r.uvarint()
	}
	if set&hasRevisionName != 0 {
		e.RevisionName = r.string()
	}
	if r.bad {
		return errors.New("event envelope ends early")
	}
	e.Payload = r.b
	return nil
}
