package record

// Terms holds the parts of an envelope that queries filter on. The slices are parts
// of the encoded envelope.
type Terms struct {
	Name, From, To, Actor []byte
	Origin                uint8
}

// PeekTerms reads the terms of an encoded envelope and skips the rest; ok is false
// if b does not start with an envelope.
func PeekTerms(b []byte) (t Terms, ok bool) {
	r := reader{b: b}
	set := r.uvarint()
	if set&^envelopeFields != 0 {
		return t, false
	}
	r.varint()
	r.uvarint()
	t.Name = r.bytes()
	t.From = r.bytes()
	t.To = t.From
	if set&hasTo != 0 {
		t.To = r.bytes()
	}
	if set&hasActor != 0 {
		t.Actor = r.bytes()
	}
	if set&hasOrigin != 0 {
		t.Origin = r.byte()
	}
	return t, !r.bad
}
